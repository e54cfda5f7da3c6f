-- Clicks per user and five seconds. It ends with its input, a line user,clicks,time each.
-- flott run examples/clicks-per-window/tumble.sql --var INPUT=examples/clicks-per-window/golden/clicks.csv
CREATE TABLE clicks (
    userId STRING,
    clicks INT,
    ts TIMESTAMP(3),
    WATERMARK FOR ts AS ts - INTERVAL '1' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${INPUT}', 'format' = 'csv');

CREATE TABLE sums (userId STRING, window_start TIMESTAMP(3), window_end TIMESTAMP(3), clicks INT) WITH ('connector' = 'print');

INSERT INTO sums
SELECT userId, window_start, window_end, SUM(clicks)
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '5' SECOND))
GROUP BY userId, window_start, window_end;
