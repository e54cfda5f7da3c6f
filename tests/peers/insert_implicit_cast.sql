-- an INSERT widens by position: names do not matter
CREATE TABLE o (a BIGINT, b DOUBLE, c STRING, d DECIMAL(10, 3), e TIMESTAMP(3)) WITH ('connector' = 'print');
INSERT INTO o SELECT CAST(1 AS TINYINT), CAST(2.5 AS FLOAT), CAST('ab' AS CHAR(4)), 1.5, CAST('2024-01-01 00:00:00' AS TIMESTAMP(0)) FROM (VALUES (1)) AS t(x);
