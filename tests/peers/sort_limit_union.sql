-- the order of a union
-- deterministic: no
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT id, shop FROM sales WHERE id < 3 UNION ALL SELECT id + 10, shop FROM sales WHERE id < 4 ORDER BY id DESC LIMIT 3;
