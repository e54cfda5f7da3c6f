-- The same sums from a CSV file to the terminal: the time is a fourth column here. It ends with its input.
-- flott run examples/website-traffic/from-files.sql --var INPUT=examples/website-traffic/golden/website-logs.csv
CREATE TABLE website_logs (
  website STRING,
  `user` STRING,
  traffic BIGINT,
  ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '1' SECOND
) WITH (
  'connector' = 'filesystem',
  'path' = '${INPUT}',
  'format' = 'csv',
  'bad-rows' = 'skip'
);

CREATE TABLE website_traffic_stats (website STRING, window_start STRING, traffic BIGINT) WITH ('connector' = 'print');

INSERT INTO website_traffic_stats
SELECT website, DATE_FORMAT(window_start, 'yyyy-MM-dd HH:mm:ss'), SUM(traffic)
FROM TABLE(TUMBLE(TABLE website_logs, DESCRIPTOR(ts), INTERVAL '60' SECOND))
GROUP BY website, window_start, window_end;
