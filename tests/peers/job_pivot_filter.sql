-- one column a status, per country and minute
-- deterministic: no
CREATE TABLE orders (order_id BIGINT, customer ROW<id STRING, country STRING, city STRING>, items ARRAY<ROW<sku STRING, qty INT, price DECIMAL(8, 2)>>, status STRING, amount DECIMAL(10, 2), ts TIMESTAMP(3), attrs MAP<STRING, STRING>, WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/job_orders.json', 'format' = 'json');

SELECT window_start, COALESCE(customer.country, '??') AS country, COUNT(*) FILTER (WHERE status = 'paid') AS paid, COUNT(*) FILTER (WHERE status = 'open') AS open_ones, SUM(amount) FILTER (WHERE status IN ('refunded', 'cancelled')) AS back, CAST(100.0 * COUNT(*) FILTER (WHERE status = 'paid') / COUNT(*) AS DECIMAL(5, 1)) AS paid_percent, AVG(amount) FILTER (WHERE amount > 0) AS average
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, COALESCE(customer.country, '??');
