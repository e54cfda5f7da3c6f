CREATE TABLE clicks (
  userId STRING, clicks INT, price DECIMAL(10, 2), at TIMESTAMP(3), twice AS clicks * 2,
  WATERMARK FOR at AS at - INTERVAL '5' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'clicks', 'properties.bootstrap.servers' = 'broker:9092', 'format' = 'json');
CREATE TABLE parts (id INT, day STRING, n BIGINT) PARTITIONED BY (day) WITH ('connector' = 'print');
CREATE VIEW seen AS SELECT userId, clicks FROM clicks;
SELECT userId, COUNT(*) OVER w FROM clicks WINDOW w AS v, v AS w;
