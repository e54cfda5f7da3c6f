-- both zeros and NaN in SELECT DISTINCT
CREATE VIEW f AS SELECT id, CAST(t AS DOUBLE) AS w FROM (VALUES (1, '0.0'), (2, '-0.0'), (3, '1.5'), (4, '-0.0'), (5, '0.0'), (6, '-1.5'), (7, 'NaN'), (8, 'NaN')) AS v (id, t);
SELECT DISTINCT w, CAST(w AS FLOAT) AS g FROM f;
