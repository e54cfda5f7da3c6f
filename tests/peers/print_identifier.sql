-- print: 'print-identifier' = 'out'
SELECT x, 'text' FROM (VALUES (1), (2)) AS t(x);
