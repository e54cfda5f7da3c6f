-- a WITH query that uses a later one
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
WITH a AS (SELECT * FROM b), b AS (SELECT id FROM sales) SELECT * FROM a;
