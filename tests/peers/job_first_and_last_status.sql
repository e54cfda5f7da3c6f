-- per order the first and last thing heard of it, repeated ones too
CREATE TABLE orders (order_id BIGINT, customer ROW<id STRING, country STRING, city STRING>, items ARRAY<ROW<sku STRING, qty INT, price DECIMAL(8, 2)>>, status STRING, amount DECIMAL(10, 2), ts TIMESTAMP(3), attrs MAP<STRING, STRING>, WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/job_orders.json', 'format' = 'json');

SELECT order_id, COUNT(*) AS heard, FIRST_VALUE(status) AS first_status, LAST_VALUE(status) AS last_status, MAX(ts) AS last_at, COALESCE(LAST_VALUE(attrs['coupon']), '-') AS coupon FROM orders GROUP BY order_id HAVING COUNT(*) > 1 OR LAST_VALUE(status) <> 'paid';
