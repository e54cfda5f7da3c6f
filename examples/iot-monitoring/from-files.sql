-- The same from a file of lines device,time,temperature. It ends with its input, and with it every device falls silent.
-- flott run examples/iot-monitoring/from-files.sql --var INPUT=examples/iot-monitoring/golden/readings.csv -p 1
CREATE TABLE readings (
    device STRING,
    ts TIMESTAMP(3),
    temperature DECIMAL(6, 2),
    WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${INPUT}', 'format' = 'csv', 'csv.null-literal' = '');

CREATE TABLE statistics (
    device STRING,
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    readings BIGINT,
    measured BIGINT,
    coldest DECIMAL(6, 2),
    hottest DECIMAL(6, 2),
    mean DECIMAL(6, 2)
) WITH ('connector' = 'print', 'print-identifier' = 'statistics');

CREATE TABLE anomalies (device STRING, ts TIMESTAMP(3), temperature DECIMAL(6, 2), mean DOUBLE, score DOUBLE)
WITH ('connector' = 'print', 'print-identifier' = 'anomalies');

CREATE TABLE silences (device STRING, last_reading TIMESTAMP(3), reported_at TIMESTAMP(3), readings BIGINT)
WITH ('connector' = 'print', 'print-identifier' = 'silences');

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
