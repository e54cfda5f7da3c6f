-- an INSERT does not narrow
CREATE TABLE o (a INT) WITH ('connector' = 'print');
INSERT INTO o SELECT CAST(x AS BIGINT) FROM (VALUES (1)) AS t(x);
