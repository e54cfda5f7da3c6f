-- both zeros and NaN within rows and arrays as keys
CREATE VIEW f AS SELECT id, CAST(t AS DOUBLE) AS w FROM (VALUES (1, '0.0'), (2, '-0.0'), (3, '1.5'), (4, '-0.0'), (5, '0.0'), (6, '-1.5'), (7, 'NaN'), (8, 'NaN')) AS v (id, t);
SELECT r, a, COUNT(*) AS n FROM (SELECT ROW(w, 1) AS r, ARRAY[CAST(w AS FLOAT)] AS a FROM f) GROUP BY r, a;
