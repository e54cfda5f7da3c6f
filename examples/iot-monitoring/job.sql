-- Watches sensors: statistics per device and minute, readings that are far from the ten before, and devices that fall silent.
-- Reads lines device,time,temperature from the topic readings, writes the topics statistics, anomalies and silences.
-- flott run examples/iot-monitoring/job.sql --var BOOTSTRAP=localhost:9092
SET 'pipeline.name' = 'IoT Monitoring';
SET 'execution.checkpointing.interval' = '1 s';
-- A partition without records does not hold back the others: a silent device must not stop the clock that finds it silent.
SET 'table.exec.source.idle-timeout' = '5 s';

CREATE TABLE readings (
    device STRING,
    ts TIMESTAMP(3),
    temperature DECIMAL(6, 2),
    WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
    'connector' = 'kafka',
    'topic' = 'readings',
    'properties.bootstrap.servers' = '${BOOTSTRAP}',
    'properties.group.id' = 'iot-monitoring',
    'scan.startup.mode' = 'earliest-offset',
    'format' = 'csv',
    'csv.null-literal' = ''
);

CREATE TABLE statistics (
    device STRING,
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    readings BIGINT,
    measured BIGINT,
    coldest DECIMAL(6, 2),
    hottest DECIMAL(6, 2),
    mean DECIMAL(6, 2)
) WITH (
    'connector' = 'kafka',
    'topic' = 'statistics',
    'properties.bootstrap.servers' = '${BOOTSTRAP}',
    'format' = 'json'
);

CREATE TABLE anomalies (device STRING, ts TIMESTAMP(3), temperature DECIMAL(6, 2), mean DOUBLE, score DOUBLE) WITH (
    'connector' = 'kafka',
    'topic' = 'anomalies',
    'properties.bootstrap.servers' = '${BOOTSTRAP}',
    'format' = 'json'
);

CREATE TABLE silences (device STRING, last_reading TIMESTAMP(3), reported_at TIMESTAMP(3), readings BIGINT) WITH (
    'connector' = 'kafka',
    'topic' = 'silences',
    'properties.bootstrap.servers' = '${BOOTSTRAP}',
    'format' = 'json'
);

-- What ten readings of the same sensor before this one say about it.
CREATE VIEW measured AS
SELECT
    device,
    ts,
    temperature,
    COUNT(temperature) OVER w - 1 AS n,
    SUM(temperature) OVER w - temperature AS total,
    SUM(temperature * temperature) OVER w - temperature * temperature AS squares
FROM readings
WHERE temperature IS NOT NULL
WINDOW w AS (PARTITION BY device ORDER BY ts ROWS BETWEEN 10 PRECEDING AND CURRENT ROW);

CREATE VIEW expected AS
SELECT
    device,
    ts,
    temperature,
    CAST(total AS DOUBLE) / n AS mean,
    SQRT((CAST(squares AS DOUBLE) - CAST(total AS DOUBLE) * CAST(total AS DOUBLE) / n) / n) AS deviation
FROM measured
WHERE n >= 5;

-- The normal density of the distance from the mean, in standard deviations; 0.0000014867 is its value at five.
CREATE VIEW scored AS
SELECT device, ts, temperature, mean, deviation, NORMAL_PDF((temperature - mean) / deviation, 0, 1) AS score
FROM expected;

EXECUTE STATEMENT SET BEGIN
    INSERT INTO statistics
    SELECT device, window_start, window_end, COUNT(*), COUNT(temperature), MIN(temperature), MAX(temperature), CAST(AVG(temperature) AS DECIMAL(6, 2))
    FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
    GROUP BY device, window_start, window_end;

    INSERT INTO anomalies
    SELECT device, ts, temperature, ROUND(mean, 2), ROUND(score, 10)
    FROM scored
    WHERE score < 0.0000014867;

    -- A device whose readings stop for thirty seconds is silent from the last reading on; the row appears when they are over.
    INSERT INTO silences
    SELECT device, MAX(ts), window_end, COUNT(*)
    FROM TABLE(SESSION(TABLE readings PARTITION BY device, DESCRIPTOR(ts), INTERVAL '30' SECOND))
    GROUP BY device, window_start, window_end;
END;
