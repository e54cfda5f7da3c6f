CREATE TABLE clicks (
  userId STRING, clicks INT, at TIMESTAMP(3), p AS PROCTIME(), WATERMARK FOR at AS at - INTERVAL '5' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'clicks', 'properties.bootstrap.servers' = 'broker:9092', 'format' = 'json');
SELECT * FROM TABLE(TUMBLE(TABLE clicks PARTITION BY userId, DESCRIPTOR(at), INTERVAL '4' MINUTE));
