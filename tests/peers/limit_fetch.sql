-- FETCH is LIMIT
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT id, shop FROM sales OFFSET 1 ROW FETCH NEXT 2 ROWS ONLY;
