-- revenue and pieces per product from arrays of items
CREATE TABLE orders (order_id BIGINT, customer ROW<id STRING, country STRING, city STRING>, items ARRAY<ROW<sku STRING, qty INT, price DECIMAL(8, 2)>>, status STRING, amount DECIMAL(10, 2), ts TIMESTAMP(3), attrs MAP<STRING, STRING>, WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/job_orders.json', 'format' = 'json');

SELECT sku, COUNT(DISTINCT order_id) AS orders, SUM(qty) AS pieces, SUM(qty * price) AS revenue, MIN(price) AS cheapest, AVG(price) AS average FROM orders CROSS JOIN UNNEST(items) AS i (sku, qty, price) WHERE status <> 'cancelled' GROUP BY sku;
