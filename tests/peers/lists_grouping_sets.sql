-- in grouping sets
-- deterministic: no
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, LISTAGG(CAST(id AS STRING)), FIRST_VALUE(id), STDDEV_POP(w) FROM sales GROUP BY GROUPING SETS ((shop), ());
