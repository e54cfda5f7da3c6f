-- the same without that phase
-- deterministic: no
SET 'table.optimizer.distinct-agg.split.enabled' = 'true';
SET 'table.exec.mini-batch.enabled' = 'true';
SET 'table.exec.mini-batch.allow-latency' = '1 s';
SET 'table.exec.mini-batch.size' = '2';
SET 'table.optimizer.incremental-agg-enabled' = 'false';
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, COUNT(*), COUNT(DISTINCT amount), COUNT(DISTINCT amount) FILTER (WHERE id > 2), COUNT(DISTINCT price) FILTER (WHERE amount > 2), SUM(DISTINCT price), AVG(DISTINCT w), MIN(w), MAX(amount), AVG(amount), SUM(price) FILTER (WHERE id < 5) FROM sales GROUP BY shop;
