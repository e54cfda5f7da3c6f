-- how many of those who looked came to the checkout and through it
CREATE TABLE weblog (ip STRING, url STRING, status INT, latency_ms INT, at_ms BIGINT, ts AS TO_TIMESTAMP_LTZ(at_ms, 3), WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/job_weblog.csv', 'format' = 'csv', 'csv.null-literal' = '');

CREATE VIEW steps AS SELECT ip, CASE WHEN url LIKE '%/products/%' THEN 'look' WHEN url LIKE '%/cart' THEN 'cart' WHEN url LIKE '%/checkout' AND status = 200 THEN 'buy' WHEN url LIKE '%/checkout' THEN 'try' END AS step FROM weblog;
SELECT looked, carts, buyers, CASE WHEN looked = 0 THEN NULL ELSE CAST(buyers AS DOUBLE) / looked END AS conversion FROM (SELECT COUNT(DISTINCT ip) FILTER (WHERE step = 'look') AS looked, COUNT(DISTINCT ip) FILTER (WHERE step = 'cart') AS carts, COUNT(DISTINCT ip) FILTER (WHERE step = 'buy') AS buyers FROM steps);
