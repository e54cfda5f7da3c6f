-- more than one row
SELECT SINGLE_VALUE(i) FROM (VALUES (1), (2)) AS t(i);
