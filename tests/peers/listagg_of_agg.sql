-- over the changelog of another aggregation
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT LISTAGG(shop || '=' || CAST(total AS STRING)) FROM (SELECT shop, SUM(amount) AS total FROM sales GROUP BY shop);
