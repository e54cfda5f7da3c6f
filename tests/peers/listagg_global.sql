-- without GROUP BY, filtered
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT LISTAGG(shop), LISTAGG(shop, '-') FILTER (WHERE amount > 2), LISTAGG(shop) FILTER (WHERE id > 100) FROM sales;
