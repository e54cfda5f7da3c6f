-- two DISTINCT columns and an extreme: rows are expanded
-- deterministic: no
SET 'table.optimizer.distinct-agg.split.enabled' = 'true';
SET 'table.optimizer.distinct-agg.split.bucket-num' = '4';
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, COUNT(DISTINCT amount), COUNT(DISTINCT price) FILTER (WHERE amount > 2), SUM(DISTINCT price), COUNT(*), MAX(amount), MIN(w), SUM(w) FROM sales GROUP BY shop;
