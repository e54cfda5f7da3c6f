-- nested types as keys of groups that are taken back
CREATE TABLE c (id INT, r ROW<a INT, b STRING>, ar ARRAY<INT>, m MAP<STRING, INT>, ts TIMESTAMP(6), n DECIMAL(6, 2)) WITH ('connector' = 'filesystem', 'path' = '${DATA}/type_changes.json', 'format' = 'debezium-json');
SELECT r, COUNT(*), SUM(n), MAX(ts) FROM c GROUP BY r;
