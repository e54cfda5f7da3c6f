-- what PERCENTILE does not take
SELECT PERCENTILE(i, CAST(NULL AS DOUBLE)) FROM (VALUES (1, 'a'), (2, 'b')) AS t(i, s);
