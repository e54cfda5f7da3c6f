-- The same counts into the topic word-counts: one record per update, keyed by the word, so that a compacted topic holds the newest count.
SET 'pipeline.name' = 'Word Count';
SET 'execution.checkpointing.interval' = '1 s';
-- Fold the updates of a moment instead of writing each one.
SET 'table.exec.mini-batch.enabled' = 'true';
SET 'table.exec.mini-batch.allow-latency' = '500 ms';
SET 'table.exec.mini-batch.size' = '50000';

CREATE TABLE msgs (line STRING) WITH (
  'connector' = 'kafka',
  'topic' = 'my-topic',
  'properties.bootstrap.servers' = '${BOOTSTRAP}',
  'properties.group.id' = 'my-consumer-group',
  'scan.startup.mode' = 'earliest-offset',
  'format' = 'raw'
);

CREATE TABLE word_counts (word STRING, cnt BIGINT, PRIMARY KEY (word) NOT ENFORCED) WITH (
  'connector' = 'upsert-kafka',
  'topic' = 'word-counts',
  'properties.bootstrap.servers' = '${BOOTSTRAP}',
  'key.format' = 'raw',
  'value.format' = 'json'
);

INSERT INTO word_counts
SELECT word, COUNT(*)
FROM msgs CROSS JOIN UNNEST(REGEXP_EXTRACT_ALL(LOWER(line), '\w+', 0)) AS t(word)
GROUP BY word;
