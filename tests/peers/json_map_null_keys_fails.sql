-- or refused, which is the default
-- file: 'format' = 'json'
SELECT id, MAP[k, id] AS m FROM (VALUES (1, 'a'), (2, CAST(NULL AS STRING))) AS t(id, k);
