-- texts in a list
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT amount, LISTAGG(shop), LISTAGG(shop, ' | '), LISTAGG(shop, ''), LISTAGG(CAST(id AS STRING), ';') FROM sales GROUP BY amount;
