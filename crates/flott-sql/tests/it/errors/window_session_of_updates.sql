CREATE TABLE clicks (
  userId STRING, clicks INT, at TIMESTAMP(3), p AS PROCTIME(), WATERMARK FOR at AS at - INTERVAL '5' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'clicks', 'properties.bootstrap.servers' = 'broker:9092', 'format' = 'json');
CREATE TABLE out_print (userId STRING, n BIGINT, s TIMESTAMP(3)) WITH ('connector' = 'print');
INSERT INTO out_print SELECT userId, n, window_start FROM TABLE(SESSION((SELECT userId, COUNT(*) AS n, PROCTIME() AS p FROM clicks GROUP BY userId), DESCRIPTOR(p), INTERVAL '1' MINUTE));
