-- NaN before a limit
CREATE VIEW f AS SELECT id, CAST(t AS DOUBLE) AS w FROM (VALUES (1, '1.5'), (2, 'NaN'), (3, '-Infinity'), (4, 'NaN'), (5, 'Infinity'), (6, '0.5')) AS v (id, t);
SELECT id, w FROM f ORDER BY w DESC LIMIT 3;
