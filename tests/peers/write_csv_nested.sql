-- rows, arrays, bytes and times in a field
-- file: 'format' = 'csv', 'csv.null-literal' = 'nil'
SELECT ROW(1, 'a;b', CAST(NULL AS INT)) AS r, ARRAY['x', 'y;z', CAST(NULL AS STRING)] AS l, ARRAY[1.5, 2.25] AS d, X'0102ff' AS b, TIME '10:20:30' AS t, CAST(NULL AS ARRAY<INT>) AS n, TRUE AS f;
