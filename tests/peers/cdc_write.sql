-- changes written as Debezium's events
-- file: 'format' = 'debezium-json'
SELECT * FROM (VALUES (1, 'a', CAST(1.50 AS DECIMAL(5, 2)), TIMESTAMP '2024-01-01 10:00:00.120'), (2, CAST(NULL AS STRING), 3.00, TIMESTAMP '2024-01-01 10:00:00')) AS t(id, s, d, ts);
