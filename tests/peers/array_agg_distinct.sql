-- each value once; Flink tells an array again where it has not changed
-- deterministic: no
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT ARRAY_AGG(DISTINCT amount), ARRAY_AGG(DISTINCT shop), COUNT(DISTINCT amount) FROM sales;
