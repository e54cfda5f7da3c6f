-- one row at a time, which changes
-- deterministic: no
SELECT g, SINGLE_VALUE(s) FROM (SELECT g, SUM(i) AS s FROM (VALUES ('a', 1), ('a', 2), ('b', CAST(NULL AS INT)), ('a', -3), ('c', 2147483647)) AS t(g, i) GROUP BY g) GROUP BY g;
