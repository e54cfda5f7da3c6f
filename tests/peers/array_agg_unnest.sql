-- taken apart again
-- deterministic: no
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT shop, x FROM (SELECT shop, ARRAY_AGG(id) AS ids FROM sales GROUP BY shop) CROSS JOIN UNNEST(ids) AS t (x);
