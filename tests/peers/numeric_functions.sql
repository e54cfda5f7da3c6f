CREATE TABLE numbers (id INT, t TINYINT, s SMALLINT, i INT, b BIGINT, f FLOAT, d DOUBLE, m DECIMAL(10, 2), n DECIMAL(5, 3))
WITH ('connector' = 'filesystem', 'path' = '${DATA}/numbers.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT id, ABS(m), ABS(d), FLOOR(d), CEIL(d), FLOOR(m), CEIL(m), ROUND(m, 1), ROUND(n, 2), ROUND(d, 1), ROUND(id * 75, -2), TRUNCATE(m, 1), SIGN(m), SIGN(i), POWER(id, 2), SQRT(id), MOD(b, 10), MOD(m, 10), MOD(t, 5) FROM numbers;
