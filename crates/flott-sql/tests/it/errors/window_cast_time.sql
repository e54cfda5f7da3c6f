CREATE TABLE clicks (
  userId STRING, clicks INT, price DECIMAL(10, 2), at TIMESTAMP(3), info ROW<city STRING, tags ARRAY<STRING>>,
  WATERMARK FOR at AS at - INTERVAL '5' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'clicks', 'properties.bootstrap.servers' = 'broker:9092', 'format' = 'json');
CREATE TABLE out_print (userId STRING, n BIGINT) WITH ('connector' = 'print');
CREATE VIEW v AS SELECT userId, CAST(at AS TIMESTAMP(3)) AS at2, at + INTERVAL '1' HOUR AS later FROM clicks;
SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE v, DESCRIPTOR(later), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end;
