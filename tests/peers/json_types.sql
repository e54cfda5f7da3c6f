-- types, missing and NULL fields, strings for numbers, nested rows, escapes, a field twice, an empty line
CREATE TABLE events (id INT, name STRING, score DOUBLE, ok BOOLEAN, `at` TIMESTAMP(3), `day` DATE, price DECIMAL(8, 2), who ROW<city STRING, zip INT>, tags ARRAY<STRING>, attrs MAP<STRING, INT>)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.json', 'format' = 'json');
SELECT *, who.city, attrs['b'] FROM events;
