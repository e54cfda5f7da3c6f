-- what PERCENTILE does not take
SELECT PERCENTILE(i, 0.5, 1.5) FROM (VALUES (1, 'a'), (2, 'b')) AS t(i, s);
