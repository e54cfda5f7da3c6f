-- what PERCENTILE does not take
SELECT PERCENTILE(i) FROM (VALUES (1, 'a'), (2, 'b')) AS t(i, s);
