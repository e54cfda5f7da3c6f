-- result types of + - * / % between decimals and with integers; rounding half up
CREATE TABLE numbers (id INT, t TINYINT, s SMALLINT, i INT, b BIGINT, f FLOAT, d DOUBLE, m DECIMAL(10, 2), n DECIMAL(5, 3))
WITH ('connector' = 'filesystem', 'path' = '${DATA}/numbers.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT id, m, n, m + n, m - n, m * n, m + i, m * b, m * t, 2 * m, m / 3, m / 7.5, n * n, MOD(m, 7), -m, 0.908 * b, 0.908 * i FROM numbers;
