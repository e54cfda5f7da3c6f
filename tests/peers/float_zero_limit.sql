-- both zeros before a limit
CREATE VIEW f AS SELECT id, CAST(t AS DOUBLE) AS w FROM (VALUES (1, '0.0'), (2, '-0.0'), (3, '1.5'), (4, '-0.0'), (5, '0.0'), (6, '-1.5')) AS v (id, t);
SELECT id, w FROM f ORDER BY w LIMIT 3;
