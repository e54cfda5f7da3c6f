CREATE TABLE t (a INT, ts TIMESTAMP_LTZ(3) METADATA FROM 'timestmp') WITH ('connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'broker:9092', 'format' = 'json');
SELECT * FROM t;
