-- timestamp-format.standard = ISO-8601 refuses the SQL form
CREATE TABLE events (id INT, `at` TIMESTAMP(3)) WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.json', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT * FROM events;
