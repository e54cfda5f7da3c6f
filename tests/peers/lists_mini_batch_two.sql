-- mini-batch with aggregates that all merge
-- deterministic: no
SET 'table.exec.mini-batch.enabled' = 'true';
SET 'table.exec.mini-batch.allow-latency' = '1 s';
SET 'table.exec.mini-batch.size' = '4';
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, LISTAGG(CAST(id AS STRING)), ARRAY_AGG(amount), COUNT(*), COLLECT(shop), VAR_POP(w) FROM sales GROUP BY shop;
