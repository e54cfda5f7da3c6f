-- without GROUP BY, of several types
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT STDDEV_POP(CAST(amount AS BIGINT)), VAR_SAMP(CAST(w AS FLOAT)), STDDEV_SAMP(CAST(amount AS TINYINT)), VAR_POP(CAST(id AS DOUBLE)), VARIANCE(w + 1) FROM sales;
