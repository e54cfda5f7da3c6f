-- subtotals by country and city
CREATE TABLE orders (order_id BIGINT, customer ROW<id STRING, country STRING, city STRING>, items ARRAY<ROW<sku STRING, qty INT, price DECIMAL(8, 2)>>, status STRING, amount DECIMAL(10, 2), ts TIMESTAMP(3), attrs MAP<STRING, STRING>, WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/job_orders.json', 'format' = 'json');

SELECT COALESCE(country, IF(GROUPING(country) = 1, 'all', 'unknown')) AS country, COALESCE(city, IF(GROUPING(city) = 1, 'all', 'unknown')) AS city, GROUPING_ID(country, city) AS level, COUNT(*) AS orders, SUM(amount) AS amount FROM (SELECT customer.country AS country, customer.city AS city, amount FROM orders) GROUP BY ROLLUP (country, city);
