CREATE TABLE t (a INT, PRIMARY KEY (a) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'b', 'key.format' = 'json', 'value.format' = 'json');
SELECT * FROM t;
