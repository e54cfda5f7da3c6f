-- an object of pairs
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, JSON_OBJECTAGG(KEY shop VALUE amount) FROM sales WHERE id IN (1, 2, 9) AND shop IS NOT NULL GROUP BY shop;
