CREATE TABLE o (c CHAR(0)) WITH ('connector' = 'print');
INSERT INTO o SELECT 'x';
