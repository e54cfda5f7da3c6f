-- NaN as an extreme of rows that change
CREATE VIEW f AS SELECT id, CAST(t AS DOUBLE) AS w FROM (VALUES (1, '1.5'), (2, 'NaN'), (3, '-Infinity'), (4, 'NaN'), (5, 'Infinity'), (6, '0.5')) AS v (id, t);
SELECT MIN(x) AS a, MAX(x) AS b FROM (SELECT id / 2 AS k, LAST_VALUE(w) AS x FROM f GROUP BY id / 2);
