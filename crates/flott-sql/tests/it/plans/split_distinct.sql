CREATE TABLE clicks (
  userId STRING, page STRING, ms INT, at TIMESTAMP(3), WATERMARK FOR at AS at - INTERVAL '5' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'clicks', 'properties.bootstrap.servers' = 'broker:9092', 'format' = 'json');
CREATE TABLE pages (page STRING, users BIGINT, slow BIGINT, mean INT, PRIMARY KEY (page) NOT ENFORCED)
  WITH ('connector' = 'upsert-kafka', 'topic' = 'pages', 'properties.bootstrap.servers' = 'broker:9092', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE times (page STRING, users BIGINT, slow BIGINT, s TIMESTAMP(3)) WITH ('connector' = 'print');
SET 'table.exec.state.ttl' = '1 d';
SET 'table.exec.source.idle-timeout' = '1 min';
SET 'table.exec.mini-batch.enabled' = 'true';
SET 'table.exec.mini-batch.allow-latency' = '2 s';
SET 'table.exec.mini-batch.size' = '5000';
-- two phases
INSERT INTO pages SELECT page, COUNT(DISTINCT userId), COUNT(DISTINCT userId) FILTER (WHERE ms > 100), CAST(COUNT(*) AS INT) FROM clicks GROUP BY page;
INSERT INTO times SELECT page, COUNT(DISTINCT userId), COUNT(*), window_start FROM TABLE(HOP(TABLE clicks, DESCRIPTOR(at), INTERVAL '10' SECOND, INTERVAL '1' MINUTE)) GROUP BY page, window_start, window_end;
-- by bucket, in two phases
SET 'table.optimizer.distinct-agg.split.enabled' = 'true';
INSERT INTO pages SELECT page, COUNT(DISTINCT userId), COUNT(DISTINCT userId) FILTER (WHERE ms > 100), AVG(ms) FROM clicks GROUP BY page;
INSERT INTO pages SELECT page, COUNT(DISTINCT userId), COUNT(DISTINCT ms), MAX(ms) FROM clicks GROUP BY page;
INSERT INTO times SELECT page, COUNT(DISTINCT userId), COUNT(*), window_start FROM TABLE(HOP(TABLE clicks, DESCRIPTOR(at), INTERVAL '10' SECOND, INTERVAL '1' MINUTE)) GROUP BY page, window_start, window_end;
INSERT INTO times SELECT page, COUNT(DISTINCT userId), COUNT(DISTINCT ms), window_start FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(at), INTERVAL '1' MINUTE)) GROUP BY page, window_start, window_end;
-- by value, with an incremental phase
SET 'table.exec.state.ttl' = '0 ms';
INSERT INTO pages SELECT page, COUNT(DISTINCT userId), COUNT(DISTINCT userId) FILTER (WHERE ms > 100), AVG(ms) FROM clicks GROUP BY page;
INSERT INTO pages SELECT page, COUNT(DISTINCT userId), COUNT(DISTINCT ms), MAX(ms) FROM clicks GROUP BY page;
-- by bucket, though the plan could have it
SET 'table.optimizer.incremental-agg-enabled' = 'false';
INSERT INTO pages SELECT page, COUNT(DISTINCT userId), COUNT(DISTINCT ms), MAX(ms) FROM clicks GROUP BY page;
-- by bucket, in one phase
SET 'table.exec.mini-batch.enabled' = 'false';
SET 'table.optimizer.distinct-agg.split.bucket-num' = '16';
INSERT INTO pages SELECT page, COUNT(DISTINCT userId), COUNT(*), MAX(ms) FROM clicks GROUP BY page;
