CREATE TABLE clicks (
  userId STRING, clicks INT, at TIMESTAMP(3), p AS PROCTIME(), WATERMARK FOR at AS at - INTERVAL '5' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'clicks', 'properties.bootstrap.servers' = 'broker:9092', 'format' = 'json');
CREATE TABLE out_print (userId STRING, n BIGINT, s TIMESTAMP(3)) WITH ('connector' = 'print');
INSERT INTO out_print SELECT userId, COUNT(*), window_end FROM TABLE(CUMULATE(TABLE clicks, DESCRIPTOR(at), INTERVAL '5' MINUTE, INTERVAL '1' HOUR)) GROUP BY userId, window_start, window_end;
INSERT INTO out_print SELECT userId, COUNT(*), window_end FROM TABLE(SESSION(TABLE clicks PARTITION BY userId, DESCRIPTOR(at), INTERVAL '5' MINUTE)) GROUP BY userId, window_start, window_end;
INSERT INTO out_print SELECT userId, clicks, window_end FROM TABLE(SESSION(TABLE clicks PARTITION BY userId, DESCRIPTOR(p), INTERVAL '5' MINUTE));
INSERT INTO out_print SELECT userId, COUNT(*), TUMBLE_START(at, INTERVAL '1' MINUTE) FROM clicks GROUP BY userId, TUMBLE(at, INTERVAL '1' MINUTE);
INSERT INTO out_print SELECT userId, COUNT(*), HOP_END(p, INTERVAL '2' MINUTE, INTERVAL '5' MINUTE) FROM clicks GROUP BY userId, HOP(p, INTERVAL '2' MINUTE, INTERVAL '5' MINUTE);
INSERT INTO out_print SELECT userId, COUNT(*), SESSION_END(at, INTERVAL '5' MINUTE) FROM clicks GROUP BY userId, SESSION(at, INTERVAL '5' MINUTE);
INSERT INTO out_print SELECT userId, COUNT(*), window_end FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(at), INTERVAL '5' MINUTE)) GROUP BY window_start, window_end, ROLLUP (userId);
INSERT INTO out_print SELECT userId, COUNT(*) + GROUPING(userId), MAX(at) FROM clicks GROUP BY CUBE (userId, clicks);
SET 'table.exec.emit.early-fire.enabled' = 'true';
SET 'table.exec.emit.early-fire.delay' = '10 s';
SET 'table.exec.emit.late-fire.enabled' = 'true';
SET 'table.exec.emit.allow-lateness' = '1 h';
INSERT INTO out_print SELECT userId, COUNT(*), TUMBLE_START(at, INTERVAL '1' MINUTE) FROM clicks GROUP BY userId, TUMBLE(at, INTERVAL '1' MINUTE);
