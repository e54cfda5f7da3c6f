CREATE TABLE clicks (userId STRING, at TIMESTAMP(3), WATERMARK FOR at AS at)
WITH ('connector' = 'kafka', 'topic' = 'clicks', 'properties.bootstrap.servers' = 'broker:9092', 'format' = 'json',
  'scan.watermark.alignment.max-drift' = '20 s');
CREATE TABLE out (userId STRING, at TIMESTAMP(3)) WITH ('connector' = 'print');
INSERT INTO out SELECT userId, at FROM clicks;
