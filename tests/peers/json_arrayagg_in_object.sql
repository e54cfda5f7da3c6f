-- an aggregate in JSON_OBJECT
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT JSON_OBJECT('shop' VALUE shop, 'ids' VALUE JSON_ARRAYAGG(id)), JSON_QUERY(JSON_ARRAYAGG(id), '$[0]') FROM sales GROUP BY shop;
