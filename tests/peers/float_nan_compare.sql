-- NaN compared
CREATE VIEW f AS SELECT id, CAST(t AS DOUBLE) AS w FROM (VALUES (1, '1.5'), (2, 'NaN'), (3, '-Infinity'), (4, 'NaN'), (5, 'Infinity'), (6, '0.5')) AS v (id, t);
SELECT id, w = w AS a, w < 1E0 AS b, w > 1E0 AS c, w <> w AS d, w BETWEEN 0E0 AND 9E0 AS e FROM f;
