-- The same from a file of JSON lines. It ends with its input.
-- flott run examples/upper-case-csv/from-files.sql --var INPUT=examples/upper-case-csv/golden/my-topic.json --var OUTPUT=/tmp/my_sink
CREATE TABLE my_topic (id BIGINT, `value` STRING) WITH ('connector' = 'filesystem', 'path' = '${INPUT}', 'format' = 'json');

CREATE TABLE my_sink (id BIGINT, `value` STRING) WITH ('connector' = 'filesystem', 'path' = '${OUTPUT}', 'format' = 'csv');

INSERT INTO my_sink SELECT id, UPPER(`value`) FROM my_topic;
