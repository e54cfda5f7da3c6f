-- Each event of the topic clicks with the clicks of its user so far, to the topic running-clicks, exactly once.
-- flott run examples/running-clicks/job.sql --var BOOTSTRAP=localhost:9092
SET 'pipeline.name' = 'Running Clicks';
SET 'execution.checkpointing.interval' = '1 s';

CREATE TABLE clicks (
    userId STRING,
    clicks INT,
    -- The order of the sums is that in which events come.
    pt AS PROCTIME()
) WITH (
    'connector' = 'kafka',
    'topic' = 'clicks',
    'properties.bootstrap.servers' = '${BOOTSTRAP}',
    'properties.group.id' = 'running-clicks',
    'scan.startup.mode' = 'earliest-offset',
    'format' = 'csv'
);

CREATE TABLE counts (userId STRING, clicks INT, clickCount INT) WITH (
    'connector' = 'kafka',
    'topic' = 'running-clicks',
    'properties.bootstrap.servers' = '${BOOTSTRAP}',
    'format' = 'csv',
    'sink.delivery-guarantee' = 'exactly-once',
    'sink.transactional-id-prefix' = 'running-clicks',
    'properties.transaction.timeout.ms' = '900000'
);

INSERT INTO counts
SELECT userId, clicks, SUM(clicks) OVER (PARTITION BY userId ORDER BY pt ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
FROM clicks;
