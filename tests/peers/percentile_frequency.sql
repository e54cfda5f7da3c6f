-- each value counts as often as it says; not at all where that is NULL or not positive
-- deterministic: no
SELECT g, PERCENTILE(i, 0.5, n), PERCENTILE(i, ARRAY[0.25, 0.75], n), PERCENTILE(i, 0.3, 2) FROM (VALUES ('a', 1, 3), ('a', 2, 0), ('a', 10, 1), ('b', CAST(NULL AS INT), 3), ('a', 4, CAST(NULL AS INT)), ('a', 100, -2), ('c', 1, 1), ('a', 7, 2), ('d', 7, 0)) AS t(g, i, n) GROUP BY g;
