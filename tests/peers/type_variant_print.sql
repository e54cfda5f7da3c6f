-- VARIANT printed
SELECT id, TRY_PARSE_JSON(j) FROM (VALUES (1, '{"a":1}'), (2, CAST(NULL AS STRING)), (3, '[1, "x", null, 1.5, true]'), (4, '{')) AS t(id, j);
