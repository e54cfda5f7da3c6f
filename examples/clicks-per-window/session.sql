-- Clicks per user and visit: a visit ends where the user pauses for two seconds. It ends with its input, a line user,clicks,time each.
-- flott run examples/clicks-per-window/session.sql --var INPUT=examples/clicks-per-window/golden/clicks.csv
CREATE TABLE clicks (
    userId STRING,
    clicks INT,
    ts TIMESTAMP(3),
    WATERMARK FOR ts AS ts - INTERVAL '1' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${INPUT}', 'format' = 'csv');

CREATE TABLE sums (userId STRING, window_start TIMESTAMP(3), window_end TIMESTAMP(3), clicks INT) WITH ('connector' = 'print');

INSERT INTO sums
SELECT userId, window_start, window_end, SUM(clicks)
FROM TABLE(SESSION(TABLE clicks PARTITION BY userId, DESCRIPTOR(ts), INTERVAL '2' SECOND))
GROUP BY userId, window_start, window_end;
