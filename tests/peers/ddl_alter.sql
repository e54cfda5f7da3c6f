-- a table altered before it is read
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w STRING) WITH ('connector' = 'filesystem', 'path' = '/nowhere', 'format' = 'csv');
ALTER TABLE sales SET ('path' = '${DATA}/sales.csv', 'csv.null-literal' = '');
ALTER TABLE sales MODIFY w DOUBLE;
ALTER TABLE sales ADD (up AS UPPER(shop));
SELECT up, amount, w FROM sales WHERE id < 3;
