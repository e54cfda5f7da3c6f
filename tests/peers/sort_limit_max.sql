-- the top of a maximum; rows behind the top rise into it
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, MAX(id) AS last FROM sales GROUP BY shop ORDER BY last DESC LIMIT 2;
