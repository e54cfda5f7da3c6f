-- both zeros as extremes of rows that change
CREATE VIEW f AS SELECT id, CAST(t AS DOUBLE) AS w FROM (VALUES (1, '0.0'), (2, '-0.0'), (3, '1.5'), (4, '-0.0'), (5, '0.0'), (6, '-1.5')) AS v (id, t);
SELECT MIN(x) AS a, MAX(x) AS b FROM (SELECT id / 2 AS k, LAST_VALUE(w) AS x FROM f WHERE id <> 3 AND id <> 6 GROUP BY id / 2);
