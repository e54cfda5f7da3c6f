-- values that are taken back
-- deterministic: no
SELECT g, PERCENTILE(s, 0.5), PERCENTILE(s, ARRAY[0.0, 1.0]), PERCENTILE(s, 0.5, 2) FROM (SELECT MOD(k, 2) AS g, k, SUM(i) AS s FROM (VALUES (1, 1), (1, 2), (2, 5), (3, 1), (2, CAST(NULL AS INT)), (3, 10), (5, 4), (1, -100)) AS t(k, i) GROUP BY k) GROUP BY g;
