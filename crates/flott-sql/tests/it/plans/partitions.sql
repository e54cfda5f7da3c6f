-- Partitions that a condition leaves out: comparisons, IN, NULL, OR of nothing else; the rest of the condition is no matter of partitions
CREATE TABLE logs (id BIGINT, word STRING, `day` STRING, `hour` INT) PARTITIONED BY (`day`, `hour`)
WITH ('connector' = 'filesystem', 'path' = '/data/logs', 'format' = 'json');
SELECT id FROM logs WHERE `day` >= '2026-01-02' AND 7 < `hour` AND word <> 'x';
SELECT id FROM logs WHERE `day` IN ('2026-01-02', '2026-01-03') AND (`hour` IS NULL OR `hour` = 7);
SELECT id FROM logs WHERE `day` = '2026-01-02' OR word = 'x';
