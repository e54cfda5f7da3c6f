-- rows in arrays in maps, bytes, times, NULLs everywhere
-- file: 'format' = 'json'
SELECT MAP['k', ARRAY[ROW(1, CAST(NULL AS STRING)), ROW(2, 'b')]] AS m, X'0102ff' AS b, TIME '10:20:30' AS t, CAST(NULL AS ROW<a INT>) AS r, ARRAY[CAST(NULL AS INT), 1] AS l,
  TIMESTAMP '2024-01-01 10:00:00.123456' AS ts, CAST(1.5 AS FLOAT) AS f, CAST(1e20 AS DOUBLE) AS d, CAST(100 AS DECIMAL(10, 2)) AS p, DATE '2024-02-29' AS dt;
