-- views, WITH, subqueries in FROM, aliases, qualified names
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE VIEW dear AS SELECT id, shop, price * 2 AS twice FROM sales WHERE price > 7.5;
WITH named AS (SELECT d.id, d.shop AS s, d.twice FROM dear AS d WHERE shop IS NOT NULL) SELECT n.*, UPPER(n.s) AS up FROM (SELECT * FROM named) AS n WHERE twice < 100;
