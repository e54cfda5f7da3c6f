-- several percentages at once
-- deterministic: no
SELECT g, PERCENTILE(i, ARRAY[0.5, 0, 1, 0.25]), PERCENTILE(i, ARRAY[0.5]), PERCENTILE(i, 0.5) FROM (VALUES ('a', 1), ('a', 2), ('a', 10), ('b', CAST(NULL AS INT)), ('a', 4), ('c', 1)) AS t(g, i) GROUP BY g;
