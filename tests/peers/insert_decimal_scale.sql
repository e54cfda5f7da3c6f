-- a decimal into a column of lower scale is rounded, into one of fewer digits NULL
CREATE TABLE wide (a DECIMAL(38, 0), b DECIMAL(38, 18)) WITH ('connector' = 'filesystem', 'path' = '${DATA}/wide.csv', 'format' = 'csv');
CREATE TABLE o (b DECIMAL(12, 2), a DECIMAL(20, 1)) WITH ('connector' = 'print');
INSERT INTO o SELECT b, a FROM wide;
