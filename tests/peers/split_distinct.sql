-- one DISTINCT column by bucket, every update
SET 'table.optimizer.distinct-agg.split.enabled' = 'true';
SET 'table.optimizer.distinct-agg.split.bucket-num' = '4';
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, COUNT(DISTINCT amount), COUNT(*), SUM(amount) FILTER (WHERE price > 8), COUNT(DISTINCT amount) FILTER (WHERE id > 2) FROM sales GROUP BY shop;
