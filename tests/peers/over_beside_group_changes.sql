-- a grouping without window, ordered by a key
-- deterministic: no
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, SUM(amount) AS s, SUM(SUM(amount)) OVER (ORDER BY shop) AS run_sum FROM sales GROUP BY shop;
