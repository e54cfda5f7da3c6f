-- a table like another, with another file
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '/nowhere', 'format' = 'csv', 'csv.null-literal' = '');
CREATE TABLE here (twice AS amount * 2) WITH ('path' = '${DATA}/sales.csv') LIKE sales;
SELECT * FROM here;
