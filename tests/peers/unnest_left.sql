-- LEFT JOIN keeps rows of empty and NULL arrays
CREATE TABLE events (id INT, tags ARRAY<STRING>) WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.json', 'format' = 'json', 'json.ignore-parse-errors' = 'true');
SELECT id, tag FROM events LEFT JOIN UNNEST(tags) AS u(tag) ON TRUE;
