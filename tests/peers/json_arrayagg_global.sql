-- without GROUP BY, filtered, of nothing
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT JSON_ARRAYAGG(w), JSON_ARRAYAGG(CAST(NULL AS INT)), JSON_ARRAYAGG(shop || '!') FROM sales;
