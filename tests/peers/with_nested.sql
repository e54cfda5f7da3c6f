-- WITH inside WITH and inside FROM
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
WITH a AS (WITH inner_a AS (SELECT id FROM sales WHERE id < 4) SELECT id * 2 AS d FROM inner_a) SELECT d, e FROM (WITH c AS (SELECT d, d + 1 AS e FROM a) SELECT * FROM c) AS t;
