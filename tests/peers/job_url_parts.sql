-- parts of URLs, by functions and by regular expressions
CREATE TABLE weblog (ip STRING, url STRING, status INT, latency_ms INT, at_ms BIGINT, ts AS TO_TIMESTAMP_LTZ(at_ms, 3), WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/job_weblog.csv', 'format' = 'csv', 'csv.null-literal' = '');

SELECT ip, PARSE_URL(url, 'HOST') AS host, PARSE_URL(url, 'PATH') AS path, PARSE_URL(url, 'QUERY', 'page') AS page, TRY_CAST(REGEXP_EXTRACT(url, '/products/(\d+)', 1) AS INT) AS product, SPLIT_INDEX(SPLIT_INDEX(url, '?', 0), '/', 3) AS section, URL_DECODE(PARSE_URL(url, 'QUERY', 'q')) AS q, REGEXP_REPLACE(url, '^https?://([^/]*@)?', '') AS bare, PARSE_URL(url, 'REF') AS fragment FROM weblog;
