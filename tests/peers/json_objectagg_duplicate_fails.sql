-- a key twice
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT JSON_OBJECTAGG(KEY shop VALUE amount) FROM sales WHERE shop IS NOT NULL;
