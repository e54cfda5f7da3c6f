-- distinct aggregates by bucket first
-- deterministic: no
CREATE TABLE visits (k STRING, g STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/visits.csv', 'format' = 'csv', 'csv.null-literal' = '');
SET 'table.exec.mini-batch.enabled' = 'true';
SET 'table.exec.mini-batch.allow-latency' = '1 s';
SET 'table.exec.mini-batch.size' = '1000';
SET 'table.optimizer.distinct-agg.split.enabled' = 'true';
SET 'table.optimizer.distinct-agg.split.bucket-num' = '4';
SELECT k, COUNT(DISTINCT v), SUM(DISTINCT v), COUNT(DISTINCT g) FILTER (WHERE v > 2), COUNT(*), SUM(v), MIN(v), MAX(v), AVG(v) FROM visits GROUP BY k;
