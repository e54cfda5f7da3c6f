-- of ROWs and arrays
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT ARRAY_AGG(ROW(id, shop)), ARRAY_AGG(ARRAY[amount, id]), ARRAY_AGG(CAST(w AS FLOAT)), ARRAY_AGG(DATE '2024-01-02') FROM sales WHERE id < 4;
