-- updates into a sink that only appends
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE TABLE o (shop STRING, n BIGINT) WITH ('connector' = 'filesystem', 'path' = '/tmp/never-written', 'format' = 'csv');
INSERT INTO o SELECT shop, COUNT(*) FROM sales GROUP BY shop;
