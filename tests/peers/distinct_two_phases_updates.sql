-- DISTINCT values that are taken back between the phases
-- deterministic: no
SET 'table.exec.mini-batch.enabled' = 'true';
SET 'table.exec.mini-batch.allow-latency' = '1 s';
SET 'table.exec.mini-batch.size' = '3';
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT n, COUNT(DISTINCT total), COUNT(DISTINCT total) FILTER (WHERE total > 5), SUM(DISTINCT total), COUNT(*) FROM (SELECT shop, COUNT(*) AS n, SUM(id) AS total FROM sales GROUP BY shop) GROUP BY n;
