-- columns that are not named get NULL
CREATE TABLE o (a INT, b STRING, c BIGINT) WITH ('connector' = 'print');
INSERT INTO o (c, a) SELECT CAST(7 AS BIGINT), x FROM (VALUES (1), (2)) AS t(x);
