-- an update without the old row
CREATE TABLE changes (id INT, shop STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/changes_bad.json', 'format' = 'debezium-json');
SELECT * FROM changes;
