-- named
-- file: 'format' = 'json', 'json.map-null-key.mode' = 'LITERAL', 'json.map-null-key.literal' = 'none'
SELECT id, MAP[k, id] AS m FROM (VALUES (1, 'a'), (2, CAST(NULL AS STRING))) AS t(id, k);
