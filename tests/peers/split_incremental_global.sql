-- distinct texts and days of everything, NULLs among them
-- deterministic: no
SET 'table.optimizer.distinct-agg.split.enabled' = 'true';
SET 'table.exec.mini-batch.enabled' = 'true';
SET 'table.exec.mini-batch.allow-latency' = '1 s';
SET 'table.exec.mini-batch.size' = '3';
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT COUNT(DISTINCT shop), COUNT(DISTINCT CAST(price AS STRING)) FILTER (WHERE w > 0.2), COUNT(DISTINCT TIMESTAMPADD(DAY, amount, DATE '2026-01-01')), MIN(shop) FROM sales;
