-- revenue and customers of the last five minutes so far, every minute
-- deterministic: no
CREATE TABLE orders (order_id BIGINT, customer ROW<id STRING, country STRING, city STRING>, items ARRAY<ROW<sku STRING, qty INT, price DECIMAL(8, 2)>>, status STRING, amount DECIMAL(10, 2), ts TIMESTAMP(3), attrs MAP<STRING, STRING>, WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/job_orders.json', 'format' = 'json');

SELECT window_start, window_end, SUM(amount) AS revenue, COUNT(DISTINCT customer.id) AS customers, COUNT(*) FILTER (WHERE attrs['coupon'] IS NOT NULL) AS with_coupon FROM TABLE(CUMULATE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '5' MINUTES)) GROUP BY window_start, window_end;
