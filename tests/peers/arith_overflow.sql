-- integers wrap around, as Java's do; -MIN stays MIN
CREATE TABLE numbers (id INT, t TINYINT, s SMALLINT, i INT, b BIGINT, f FLOAT, d DOUBLE, m DECIMAL(10, 2), n DECIMAL(5, 3))
WITH ('connector' = 'filesystem', 'path' = '${DATA}/numbers.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT id, t + t, s + s, i + i, b + b, i * i, b * b, b - 1, b + 1, -t, -s, -i, -b, i + b, t + s FROM numbers;
