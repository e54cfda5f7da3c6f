-- keys of maps that are NULL, dropped
-- file: 'format' = 'json', 'json.map-null-key.mode' = 'DROP'
SELECT id, MAP[k, id] AS m FROM (VALUES (1, 'a'), (2, CAST(NULL AS STRING))) AS t(id, k);
