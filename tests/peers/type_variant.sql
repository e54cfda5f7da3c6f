-- what can be done with VARIANT
SELECT id, PARSE_JSON(j) IS NULL, TRY_PARSE_JSON(j) IS NULL FROM (VALUES (1, '{"a":1}'), (2, CAST(NULL AS STRING)), (3, '[1, "x", null]')) AS t(id, j);
