-- both zeros compared
CREATE VIEW f AS SELECT id, CAST(t AS DOUBLE) AS w FROM (VALUES (1, '0.0'), (2, '-0.0'), (3, '1.5'), (4, '-0.0'), (5, '0.0'), (6, '-1.5')) AS v (id, t);
SELECT id, w = 0.0E0 AS a, w < 0.0E0 AS b, w >= CAST('-0.0' AS DOUBLE) AS c, w IN (0.0E0, 7.0E0) AS d, w IS NOT DISTINCT FROM 0.0E0 AS e FROM f;
