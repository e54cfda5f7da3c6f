-- grouping by an expression and by an alias-free ordinal key; keys that are NULL are one group
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT amount > 3, CHAR_LENGTH(shop), COUNT(*) FROM sales GROUP BY amount > 3, CHAR_LENGTH(shop);
