-- what PERCENTILE does not take
SELECT PERCENTILE(i, 1.5) FROM (VALUES (1, 'a'), (2, 'b')) AS t(i, s);
