-- a percentage that changes
-- deterministic: no
SELECT g, PERCENTILE(i, p) FROM (VALUES ('a', 1, 0.1), ('a', 3, 0.9), ('a', 7, 0.3), ('b', 1, 0.5)) AS t(g, i, p) GROUP BY g;
