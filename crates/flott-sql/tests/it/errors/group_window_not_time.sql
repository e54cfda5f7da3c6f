CREATE TABLE clicks (
  userId STRING, clicks INT, at TIMESTAMP(3), p AS PROCTIME(), WATERMARK FOR at AS at - INTERVAL '5' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'clicks', 'properties.bootstrap.servers' = 'broker:9092', 'format' = 'json');
SELECT COUNT(*) FROM clicks GROUP BY TUMBLE(CAST(at AS TIMESTAMP(3)), INTERVAL '1' MINUTE);
