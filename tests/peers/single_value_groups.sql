-- one row a group, NULL too
-- deterministic: no
SELECT g, SINGLE_VALUE(i), SINGLE_VALUE(s) FROM (VALUES ('a', 1, 'x'), ('b', CAST(NULL AS INT), 'y'), ('c', 3, CAST(NULL AS STRING))) AS t(g, i, s) GROUP BY g;
