-- groups by both zeros and NaN, whose rows move
CREATE VIEW f AS SELECT id, CAST(t AS DOUBLE) AS w FROM (VALUES (1, '0.0'), (2, '-0.0'), (3, '1.5'), (4, '-0.0'), (5, '0.0'), (6, '-1.5'), (7, 'NaN'), (8, 'NaN')) AS v (id, t);
SELECT x, COUNT(*) AS n, SUM(k) AS s FROM (SELECT id / 3 AS k, LAST_VALUE(w) AS x FROM f GROUP BY id / 3) GROUP BY x;
