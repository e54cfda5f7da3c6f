-- attributes of a map as rows, counted
-- deterministic: no
CREATE TABLE orders (order_id BIGINT, customer ROW<id STRING, country STRING, city STRING>, items ARRAY<ROW<sku STRING, qty INT, price DECIMAL(8, 2)>>, status STRING, amount DECIMAL(10, 2), ts TIMESTAMP(3), attrs MAP<STRING, STRING>, WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/job_orders.json', 'format' = 'json');

SELECT k, v, COUNT(*) AS n, COUNT(DISTINCT customer.id) AS customers FROM orders CROSS JOIN UNNEST(attrs) AS a (k, v) GROUP BY k, v;
