-- what a BIGINT, an INT and a DECIMAL take from numbers with fractions, exponents and quotes
CREATE TABLE n (a BIGINT, b INT, c DECIMAL(10, 2), d STRING, e BOOLEAN, f DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/numbers.json', 'format' = 'json', 'json.ignore-parse-errors' = 'true');
SELECT * FROM n;
