-- the database of the session beside an aggregate
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT CURRENT_DATABASE(), COUNT(*) FROM sales WHERE shop = 'oslo' GROUP BY shop;
