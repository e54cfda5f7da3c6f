-- both zeros and NaN in a multiset
CREATE VIEW f AS SELECT id, CAST(t AS DOUBLE) AS w FROM (VALUES (1, '0.0'), (2, '-0.0'), (3, '1.5'), (4, '-0.0'), (5, '0.0'), (6, '-1.5'), (7, 'NaN'), (8, 'NaN')) AS v (id, t);
SELECT COLLECT(w) AS c FROM f WHERE id IN (1, 2, 5, 7, 8);
