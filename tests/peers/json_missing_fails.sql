-- fail-on-missing-field
CREATE TABLE events (id INT, name STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.json', 'format' = 'json', 'json.fail-on-missing-field' = 'true');
SELECT * FROM events;
