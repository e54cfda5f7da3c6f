-- DISTINCT values come from the first phase as sets
-- deterministic: no
SET 'table.exec.mini-batch.enabled' = 'true';
SET 'table.exec.mini-batch.allow-latency' = '1 s';
SET 'table.exec.mini-batch.size' = '3';
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, COUNT(DISTINCT amount), SUM(DISTINCT price), COUNT(DISTINCT w) FILTER (WHERE amount > 2), COUNT(DISTINCT w), MAX(DISTINCT id), COUNT(DISTINCT CAST(price AS STRING)), AVG(DISTINCT amount) FROM sales GROUP BY shop;
