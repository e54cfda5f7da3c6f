-- both zeros and NaN as distinct values of groups
CREATE VIEW f AS SELECT id, CAST(t AS DOUBLE) AS w FROM (VALUES (1, '0.0'), (2, '-0.0'), (3, '1.5'), (4, '-0.0'), (5, '0.0'), (6, '-1.5'), (7, 'NaN'), (8, 'NaN')) AS v (id, t);
SELECT id / 6 AS k, COUNT(DISTINCT w) AS n, COUNT(DISTINCT CAST(w AS FLOAT)) AS g FROM f GROUP BY id / 6;
