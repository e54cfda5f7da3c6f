CREATE TABLE o (a INT, b INT) WITH ('connector' = 'print');
INSERT INTO o SELECT x FROM (VALUES (1)) AS t(x);
