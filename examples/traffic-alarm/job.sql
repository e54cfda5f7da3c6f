-- Clients that ask for too much: more than 20 requests or 5000 bytes in a minute, looked at every 20 seconds. It ends with its input.
-- flott run examples/traffic-alarm/job.sql --var INPUT=examples/traffic-alarm/golden/requests.csv -p 1
CREATE TABLE requests (
    ts TIMESTAMP(3),
    client STRING,
    url STRING,
    status INT,
    volume BIGINT,
    WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${INPUT}', 'format' = 'csv');

CREATE TABLE alarms (
    window_start TIMESTAMP(3),
    window_end TIMESTAMP(3),
    client STRING,
    requests BIGINT,
    errors BIGINT,
    volume BIGINT,
    alarm STRING
) WITH ('connector' = 'print');

INSERT INTO alarms
SELECT
    window_start,
    window_end,
    client,
    requests,
    errors,
    volume,
    CASE WHEN requests > 20 AND volume > 5000 THEN 'both' WHEN requests > 20 THEN 'requests' ELSE 'bytes' END
FROM (
    SELECT window_start, window_end, client, COUNT(*) AS requests, COUNT(*) FILTER (WHERE status >= 400) AS errors, SUM(volume) AS volume
    FROM TABLE(HOP(TABLE requests, DESCRIPTOR(ts), INTERVAL '20' SECOND, INTERVAL '1' MINUTE))
    GROUP BY window_start, window_end, client
)
WHERE requests > 20 OR volume > 5000;
