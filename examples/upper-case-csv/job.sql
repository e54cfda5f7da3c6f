-- Records of a Kafka topic in upper case into CSV files, which appear with each checkpoint, each row once.
-- flott run examples/upper-case-csv/job.sql --var BOOTSTRAP=localhost:9092 --var OUTPUT=/tmp/my_sink
SET 'execution.checkpointing.interval' = '10 s';

CREATE TABLE my_topic (id BIGINT, `value` STRING) WITH (
    'connector' = 'kafka',
    'topic' = 'my-topic',
    'properties.bootstrap.servers' = '${BOOTSTRAP}',
    'properties.group.id' = 'upper-case-csv',
    'scan.startup.mode' = 'earliest-offset',
    'format' = 'json'
);

CREATE TABLE my_sink (id BIGINT, `value` STRING) WITH (
    'connector' = 'filesystem',
    'path' = '${OUTPUT}',
    'format' = 'csv'
);

INSERT INTO my_sink SELECT id, UPPER(`value`) FROM my_topic;
