-- precision above 38: scale gives way; what does not fit is NULL
CREATE TABLE wide (a DECIMAL(38, 0), b DECIMAL(38, 18)) WITH ('connector' = 'filesystem', 'path' = '${DATA}/wide.csv', 'format' = 'csv');
SELECT a + b, a * b, a - b, a / b, b * b, CAST(b AS DECIMAL(38, 10)) * CAST(b AS DECIMAL(38, 10)), a + a, a * 10, b / 7 FROM wide;
