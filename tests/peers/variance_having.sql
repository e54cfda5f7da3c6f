-- in HAVING and in an expression
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, ROUND(STDDEV_POP(w) * 2, 3) AS s2, COUNT(*) FROM sales GROUP BY shop HAVING VAR_POP(w) >= 0;
