-- both zeros as extremes
CREATE VIEW f AS SELECT id, CAST(t AS DOUBLE) AS w FROM (VALUES (1, '0.0'), (2, '-0.0'), (3, '1.5'), (4, '-0.0'), (5, '0.0'), (6, '-1.5')) AS v (id, t);
SELECT id / 4 AS k, MIN(ABS(w) * w) AS a, MAX(w) AS b, MIN(w) AS c FROM f WHERE id <> 3 AND id <> 6 GROUP BY id / 4;
