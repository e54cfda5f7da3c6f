-- UNION drops doubles
-- deterministic: no
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop FROM sales UNION SELECT 'rome' UNION SELECT shop FROM sales WHERE id > 3;
