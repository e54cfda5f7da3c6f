-- a sink whose primary key is not the key of the query's updates, at a parallelism of its own
CREATE TABLE sentences (line STRING, hits BIGINT)
WITH ('connector' = 'kafka', 'topic' = 'sentences', 'properties.bootstrap.servers' = '${BOOTSTRAP}', 'properties.group.id' = 'seed2',
  'scan.startup.mode' = 'earliest-offset', 'format' = 'json');
CREATE TABLE by_count (line STRING, cnt BIGINT, PRIMARY KEY (cnt) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'by-count', 'properties.bootstrap.servers' = '${BOOTSTRAP}', 'key.format' = 'raw', 'value.format' = 'json',
  'sink.parallelism' = '2');
CREATE TABLE by_both (line STRING, cnt BIGINT, PRIMARY KEY (line, cnt) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'by-both', 'properties.bootstrap.servers' = '${BOOTSTRAP}', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO by_count SELECT line, COUNT(*) FROM sentences GROUP BY line;
INSERT INTO by_both SELECT line, COUNT(*) FROM sentences GROUP BY line;
