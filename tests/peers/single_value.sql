-- SINGLE_VALUE written by hand
SELECT SINGLE_VALUE(i) FROM (VALUES (1)) AS t(i);
