-- of DECIMAL
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, STDDEV_POP(price), STDDEV_SAMP(price), STDDEV(price), VAR_POP(price), VAR_SAMP(price), VARIANCE(price) FROM sales WHERE price < 1000 OR price IS NULL GROUP BY shop;
