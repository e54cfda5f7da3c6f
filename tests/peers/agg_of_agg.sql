-- an aggregate over a changelog retracts: counts per count
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT n, COUNT(*), SUM(total) FROM (SELECT shop, COUNT(*) AS n, SUM(amount) AS total FROM sales GROUP BY shop) GROUP BY n;
