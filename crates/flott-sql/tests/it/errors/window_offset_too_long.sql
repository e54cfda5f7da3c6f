CREATE TABLE clicks (
  userId STRING, clicks INT, at TIMESTAMP(3), p AS PROCTIME(), WATERMARK FOR at AS at - INTERVAL '5' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'clicks', 'properties.bootstrap.servers' = 'broker:9092', 'format' = 'json');
SELECT window_end, COUNT(*) FROM TABLE(CUMULATE(TABLE clicks, DESCRIPTOR(at), INTERVAL '5' MINUTE, INTERVAL '10' MINUTE, INTERVAL '-10' MINUTE)) GROUP BY window_start, window_end;
