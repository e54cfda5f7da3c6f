-- a histogram by price, and the days of the week
CREATE TABLE orders (order_id BIGINT, customer ROW<id STRING, country STRING, city STRING>, items ARRAY<ROW<sku STRING, qty INT, price DECIMAL(8, 2)>>, status STRING, amount DECIMAL(10, 2), ts TIMESTAMP(3), attrs MAP<STRING, STRING>, WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/job_orders.json', 'format' = 'json');

SELECT FLOOR(amount / 20) * 20 AS from_price, COUNT(*) AS n, SUM(amount) AS total, COUNT(DISTINCT status) AS statuses, MAX(DAYOFWEEK(ts)) AS weekday FROM orders GROUP BY FLOOR(amount / 20) * 20;
