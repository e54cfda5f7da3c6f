-- an array
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, JSON_ARRAYAGG(amount), JSON_ARRAYAGG(amount NULL ON NULL), JSON_ARRAYAGG(amount ABSENT ON NULL), JSON_ARRAYAGG(price), JSON_ARRAYAGG(shop NULL ON NULL) FROM sales GROUP BY shop;
