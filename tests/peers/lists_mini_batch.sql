-- mini-batch folds updates; two phases
-- deterministic: no
SET 'table.exec.mini-batch.enabled' = 'true';
SET 'table.exec.mini-batch.allow-latency' = '1 s';
SET 'table.exec.mini-batch.size' = '100';
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, LISTAGG(CAST(id AS STRING)), ARRAY_AGG(amount), COUNT(*), LAST_VALUE(amount), STDDEV_POP(w), JSON_ARRAYAGG(id) FROM sales GROUP BY shop;
