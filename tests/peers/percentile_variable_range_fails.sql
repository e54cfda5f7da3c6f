-- a percentage that is none
SELECT PERCENTILE(i, p) FROM (VALUES (1, 1.5), (2, 0.5)) AS t(i, p);
