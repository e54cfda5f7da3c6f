-- Running word count: reads lines from the topic my-topic and prints each word's new count, as updates (-U the old row, +U the new one).
-- ${BOOTSTRAP} is filled in by `flott run --var BOOTSTRAP=host:port` or from the environment.

SET 'pipeline.name' = 'Word Count';

CREATE TABLE msgs (line STRING) WITH (
  'connector' = 'kafka',
  'topic' = 'my-topic',
  'properties.bootstrap.servers' = '${BOOTSTRAP}',
  'properties.group.id' = 'my-consumer-group',
  -- Go on where this group stopped; the first time from the beginning (Kafka's own default would be the end).
  'scan.startup.mode' = 'group-offsets',
  'properties.auto.offset.reset' = 'earliest',
  'format' = 'raw'
);

CREATE TABLE counts (word STRING, cnt BIGINT) WITH ('connector' = 'print');

INSERT INTO counts
SELECT word, COUNT(*)
FROM msgs CROSS JOIN UNNEST(REGEXP_EXTRACT_ALL(LOWER(line), '\w+', 0)) AS t(word)
GROUP BY word;
