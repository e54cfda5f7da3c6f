-- of CHAR
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT LISTAGG(CAST(shop AS CHAR(3))), LISTAGG(CAST(shop AS VARCHAR(4)), '+') FROM sales WHERE id < 5;
