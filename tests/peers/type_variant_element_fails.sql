-- an element of VARIANT
SELECT PARSE_JSON(j)['a'] FROM (VALUES ('{"a":1}')) AS t(j);
