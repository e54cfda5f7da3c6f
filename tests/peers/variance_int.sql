-- of INT: the result is INT too
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, STDDEV_POP(amount), STDDEV_SAMP(amount), STDDEV(amount), VAR_POP(amount), VAR_SAMP(amount), VARIANCE(amount) FROM sales GROUP BY shop;
