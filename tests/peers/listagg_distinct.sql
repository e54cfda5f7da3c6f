-- each text once
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT LISTAGG(DISTINCT shop), LISTAGG(DISTINCT shop, '/'), COUNT(DISTINCT shop), LISTAGG(DISTINCT shop) FILTER (WHERE id > 1) FROM sales;
