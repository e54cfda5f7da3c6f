-- standard deviations and variances of DOUBLE
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, STDDEV_POP(w), STDDEV_SAMP(w), STDDEV(w), VAR_POP(w), VAR_SAMP(w), VARIANCE(w) FROM sales GROUP BY shop;
