-- DISTINCT and FILTER
-- deterministic: no
SELECT g, PERCENTILE(DISTINCT i, 0.5), PERCENTILE(i, 0.5) FILTER (WHERE i > 1), PERCENTILE(i, 0.5) FROM (VALUES ('a', 1), ('a', 1), ('a', 1), ('a', 10), ('b', CAST(NULL AS INT)), ('a', 4), ('c', 1)) AS t(g, i) GROUP BY g;
