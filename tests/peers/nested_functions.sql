-- the expressions of the benchmark queries q1, q14, q17
CREATE TABLE bids (auction BIGINT, price BIGINT, ts TIMESTAMP(3), extra STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/bids.csv', 'format' = 'csv');
SELECT auction, 0.908 * price AS euro, CASE WHEN HOUR(ts) BETWEEN 8 AND 18 THEN 'dayTime' WHEN HOUR(ts) IN (7, 19) THEN 'otherTime' ELSE 'nightTime' END AS bidTimeType,
  CAST(CHAR_LENGTH(extra) - CHAR_LENGTH(REPLACE(extra, 'c', '')) AS BIGINT) AS c_counts, DATE_FORMAT(ts, 'yyyy-MM-dd') AS d, MOD(auction, 123) = 0,
  CASE WHEN price < 10000 THEN 1 WHEN price < 1000000 THEN 2 ELSE 3 END AS tier, CAST(0.908 * price AS DECIMAL(23, 3)) FROM bids;
