-- deterministic: no
-- mini-batch folds updates of a batch: the final rows are those without it
SET 'table.exec.mini-batch.enabled' = 'true';
SET 'table.exec.mini-batch.allow-latency' = '1 s';
SET 'table.exec.mini-batch.size' = '100';
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, COUNT(*), SUM(amount), AVG(price), MAX(w), COUNT(DISTINCT amount) FROM sales GROUP BY shop;
