CREATE TABLE clicks (
  userId STRING, clicks INT, price DECIMAL(10, 2), at TIMESTAMP(3), info ROW<city STRING, tags ARRAY<STRING>>,
  WATERMARK FOR at AS at - INTERVAL '5' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'clicks', 'properties.bootstrap.servers' = 'broker:9092', 'format' = 'json');
CREATE TABLE out_print (userId STRING, n BIGINT) WITH ('connector' = 'print');
SHOW PARTITIONS clicks;
