-- SUM of INT is an INT and wraps
SELECT SUM(i), COUNT(*) FROM (VALUES (2147483647), (1), (2147483647)) AS t(i);
