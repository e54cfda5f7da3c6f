-- both zeros as keys
CREATE VIEW f AS SELECT id, CAST(t AS DOUBLE) AS w FROM (VALUES (1, '0.0'), (2, '-0.0'), (3, '1.5'), (4, '-0.0'), (5, '0.0'), (6, '-1.5')) AS v (id, t);
SELECT w, COUNT(*) AS n FROM f GROUP BY w;
