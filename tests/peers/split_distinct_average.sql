-- averages of split groupings are made of sums and counts
-- deterministic: no
SET 'table.optimizer.distinct-agg.split.enabled' = 'true';
SET 'table.optimizer.distinct-agg.split.bucket-num' = '4';
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, COUNT(DISTINCT price), AVG(amount), AVG(price), AVG(w), AVG(DISTINCT amount) FROM sales GROUP BY shop;
