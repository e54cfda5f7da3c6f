-- WITH queries that use each other
-- deterministic: no
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
WITH a AS (SELECT id, shop FROM sales WHERE id < 6), b (n, s) AS (SELECT id + 10, shop FROM a WHERE shop = 'berlin') SELECT * FROM b UNION ALL SELECT * FROM a;
