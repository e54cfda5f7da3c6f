-- deterministic: no
CREATE TABLE o (a INT, b STRING) WITH ('connector' = 'print');
INSERT INTO o VALUES (1, 'one'), (2, 'two'), (3, CAST(NULL AS STRING));
