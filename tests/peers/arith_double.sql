-- floating point: division by zero, mixed types, printing
CREATE TABLE numbers (id INT, t TINYINT, s SMALLINT, i INT, b BIGINT, f FLOAT, d DOUBLE, m DECIMAL(10, 2), n DECIMAL(5, 3))
WITH ('connector' = 'filesystem', 'path' = '${DATA}/numbers.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT id, f, d, f + f, d * 2, d / 3, f / 0, d / 0, f + d, d + i, f + i, f * m, d - m, -d, i / d FROM numbers;
