-- behind an offset ranks count
-- wrong: Flink leaves two rows where the limit is one, once a row before the offset is taken back
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, COUNT(*) AS n FROM sales GROUP BY shop LIMIT 1 OFFSET 1;
