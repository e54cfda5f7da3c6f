-- JSON in JSON
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT JSON_ARRAYAGG(JSON_OBJECT('id' VALUE id, 'shop' VALUE shop)), JSON_ARRAYAGG(ARRAY[id, amount]), JSON_ARRAYAGG(ROW(id, shop)) FROM sales WHERE id < 4;
