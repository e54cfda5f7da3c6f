-- by an aggregate that is not shown
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop FROM sales GROUP BY shop ORDER BY MIN(id) DESC LIMIT 2;
