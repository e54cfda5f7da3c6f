-- narrower values into wider columns, nested too
CREATE TABLE o (a BIGINT, b DOUBLE, c DECIMAL(20, 5), d STRING, e TIMESTAMP(9), f ARRAY<BIGINT>, g ROW<x BIGINT, y STRING>, h MAP<STRING, DOUBLE>) WITH ('connector' = 'print');
INSERT INTO o SELECT 1, 2, 3.5, CAST('x' AS CHAR(3)), TIMESTAMP '2026-01-01 00:00:00', ARRAY[1, 2], ROW(1, 'y'), MAP['k', CAST(1 AS FLOAT)];
