-- one row an item, orders without items kept, with share of the order
CREATE TABLE orders (order_id BIGINT, customer ROW<id STRING, country STRING, city STRING>, items ARRAY<ROW<sku STRING, qty INT, price DECIMAL(8, 2)>>, status STRING, amount DECIMAL(10, 2), ts TIMESTAMP(3), attrs MAP<STRING, STRING>, WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/job_orders.json', 'format' = 'json');

SELECT order_id, customer.id AS customer_id, sku, UPPER(COALESCE(sku, 'none')) AS label, qty * price AS worth, CASE WHEN amount = 0 OR amount IS NULL THEN NULL ELSE ROUND(qty * price / amount * 100, 1) END AS share_of_order, CARDINALITY(items) AS n FROM orders LEFT JOIN UNNEST(items) AS i (sku, qty, price) ON TRUE WHERE order_id <> 1001;
