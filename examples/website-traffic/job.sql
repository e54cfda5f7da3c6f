-- Website traffic per minute: reads lines "website,user,count" from the topic website-logs, adds up the counts of each website in
-- windows of 60 seconds of the records' own time, and writes one line per website and minute to website-traffic-stats, exactly once.
--
-- ${BOOTSTRAP} is filled in by `flott run --var BOOTSTRAP=host:port` or from the environment.
-- The script is Flink SQL but for one option of ours, 'bad-rows': without that line it runs on Apache Flink as it stands.

SET 'pipeline.name' = 'Website Traffic Stats';
-- A result becomes visible to readers with read_committed when the checkpoint that holds it is complete.
SET 'execution.checkpointing.interval' = '1 s';
-- A partition without records does not hold back the windows of the others.
SET 'table.exec.source.idle-timeout' = '5 s';

CREATE TABLE website_logs (
  website STRING,
  `user` STRING,
  traffic BIGINT,
  ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp',
  -- Records may come up to a second later than newer ones.
  WATERMARK FOR ts AS ts - INTERVAL '1' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = 'website-logs',
  'properties.bootstrap.servers' = '${BOOTSTRAP}',
  'properties.group.id' = 'website-traffic',
  'scan.startup.mode' = 'earliest-offset',
  'format' = 'csv',
  -- A line that is not "website,user,count" is skipped and counted; 'fail' would stop the job, 'dead-letter' keep the line elsewhere.
  'bad-rows' = 'skip'
);

CREATE TABLE website_traffic_stats (
  website STRING,
  window_start STRING,
  traffic BIGINT
) WITH (
  'connector' = 'kafka',
  'topic' = 'website-traffic-stats',
  'properties.bootstrap.servers' = '${BOOTSTRAP}',
  'format' = 'csv',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'website-traffic',
  -- Longer than a checkpoint with its timeout and a restart may take, at most what the broker allows (15 minutes by default).
  'properties.transaction.timeout.ms' = '900000'
);

INSERT INTO website_traffic_stats
SELECT website, DATE_FORMAT(window_start, 'yyyy-MM-dd HH:mm:ss'), SUM(traffic)
FROM TABLE(TUMBLE(TABLE website_logs, DESCRIPTOR(ts), INTERVAL '60' SECOND))
GROUP BY website, window_start, window_end;
