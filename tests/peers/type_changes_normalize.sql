-- nested values remembered by key
SET 'table.exec.source.cdc-events-duplicate' = 'true';
CREATE TABLE c (id INT, r ROW<a INT, b STRING>, ar ARRAY<INT>, m MAP<STRING, INT>, ts TIMESTAMP(6), n DECIMAL(6, 2), PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'filesystem', 'path' = '${DATA}/type_changes.json', 'format' = 'debezium-json');
SELECT * FROM c;
