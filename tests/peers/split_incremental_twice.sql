-- a condition on what is counted, and an aggregate of it: phases behind phases
-- deterministic: no
SET 'table.optimizer.distinct-agg.split.enabled' = 'true';
SET 'table.exec.mini-batch.enabled' = 'true';
SET 'table.exec.mini-batch.allow-latency' = '1 s';
SET 'table.exec.mini-batch.size' = '100';
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT n, COUNT(*), COUNT(DISTINCT m) FROM (SELECT shop, COUNT(DISTINCT amount) AS n, MAX(price) AS m FROM sales GROUP BY shop) GROUP BY n HAVING COUNT(*) > 0;
