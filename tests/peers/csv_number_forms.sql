-- which spellings of numbers, booleans and times are taken
CREATE TABLE n (a BIGINT, b INT, c DECIMAL(10, 2), e BOOLEAN, f DOUBLE, ts TIMESTAMP(3), d DATE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/forms.csv', 'format' = 'csv', 'csv.ignore-parse-errors' = 'true');
SELECT * FROM n;
