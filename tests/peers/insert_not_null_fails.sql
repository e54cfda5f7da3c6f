-- NULL into a NOT NULL column fails the job
CREATE TABLE numbers (id INT, t TINYINT, s SMALLINT, i INT, b BIGINT, f FLOAT, d DOUBLE, m DECIMAL(10, 2), n DECIMAL(5, 3))
WITH ('connector' = 'filesystem', 'path' = '${DATA}/numbers.csv', 'format' = 'csv', 'csv.null-literal' = '');
CREATE TABLE o (a INT NOT NULL) WITH ('connector' = 'print');
INSERT INTO o SELECT i FROM numbers;
