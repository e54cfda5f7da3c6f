CREATE TABLE o (a INT) WITH ('connector' = 'print');
INSERT INTO o SELECT 'text' FROM (VALUES (1)) AS t(x);
