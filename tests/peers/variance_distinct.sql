-- of distinct values, and filtered
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, STDDEV_POP(DISTINCT w), VAR_POP(DISTINCT CAST(amount AS DOUBLE)), VAR_SAMP(w) FILTER (WHERE amount > 2), STDDEV_SAMP(DISTINCT w) FILTER (WHERE id > 1) FROM sales GROUP BY shop;
