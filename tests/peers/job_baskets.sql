-- what customers bought, as arrays and text, and who bought tea
CREATE TABLE orders (order_id BIGINT, customer ROW<id STRING, country STRING, city STRING>, items ARRAY<ROW<sku STRING, qty INT, price DECIMAL(8, 2)>>, status STRING, amount DECIMAL(10, 2), ts TIMESTAMP(3), attrs MAP<STRING, STRING>, WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/job_orders.json', 'format' = 'json');

SELECT customer_id, LISTAGG(sku, '+') AS basket, ARRAY_AGG(qty) AS quantities, MAX(IF(sku = 'tea', qty, 0)) > 0 AS drinks_tea FROM (SELECT DISTINCT order_id, customer.id AS customer_id, sku, qty FROM orders CROSS JOIN UNNEST(items) AS i (sku, qty, price)) GROUP BY customer_id HAVING COUNT(*) < 4;
