-- of other types
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT FIRST_VALUE(CAST(amount AS TINYINT)), LAST_VALUE(amount > 2), FIRST_VALUE(DATE '2024-01-01'), LAST_VALUE(TIMESTAMP '2024-01-01 00:00:00.123456'), LAST_VALUE(CAST(w AS FLOAT)), FIRST_VALUE(CAST(shop AS CHAR(3))), LAST_VALUE(TIME '10:11:12') FROM sales;
