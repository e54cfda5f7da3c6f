-- UNION ALL of other types
-- deterministic: no
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT id, price FROM sales WHERE id < 3 UNION ALL SELECT CAST(7 AS BIGINT), w FROM sales WHERE id < 3;
