CREATE TABLE clicks (
  userId STRING, clicks INT, at TIMESTAMP(3), p AS PROCTIME(), WATERMARK FOR at AS at - INTERVAL '5' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'clicks', 'properties.bootstrap.servers' = 'broker:9092', 'format' = 'json');
SET 'table.exec.emit.early-fire.enabled' = 'true';
SELECT window_end, COUNT(*) FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(at), INTERVAL '5' MINUTE)) GROUP BY window_start, window_end;
