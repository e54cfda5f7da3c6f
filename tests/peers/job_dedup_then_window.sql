-- orders that come twice count once, then revenue per minute of the first time each came
-- deterministic: no
CREATE TABLE orders (order_id BIGINT, customer ROW<id STRING, country STRING, city STRING>, items ARRAY<ROW<sku STRING, qty INT, price DECIMAL(8, 2)>>, status STRING, amount DECIMAL(10, 2), ts TIMESTAMP(3), attrs MAP<STRING, STRING>, WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/job_orders.json', 'format' = 'json');

CREATE VIEW once AS SELECT order_id, customer.country AS country, amount, ts FROM (SELECT DISTINCT order_id, customer, amount, ts FROM orders WHERE status = 'paid');
SELECT country, COUNT(*) AS orders, SUM(amount) AS revenue, MAX(amount) AS top, MIN(DATE_FORMAT(ts, 'HH:mm')) AS since FROM once GROUP BY country;
