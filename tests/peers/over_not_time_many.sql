-- several functions
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT id, amount, COUNT(*) OVER w AS c, AVG(w) OVER w AS a, MIN(id) OVER w AS mi, MAX(id) OVER w AS ma, LAST_VALUE(shop) OVER w AS l FROM sales WINDOW w AS (ORDER BY amount);
