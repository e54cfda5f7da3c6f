-- comparison of mixed numeric types and of strings
CREATE TABLE numbers (id INT, t TINYINT, s SMALLINT, i INT, b BIGINT, f FLOAT, d DOUBLE, m DECIMAL(10, 2), n DECIMAL(5, 3))
WITH ('connector' = 'filesystem', 'path' = '${DATA}/numbers.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT id, t < s, t = i, i > b, f = d, f < d, m > n, m = 0, d >= i, b <> 0, m < 100.5, i = 0.0, 'abc' < 'abd', 'a' < 'B', 'ab' = 'ab ' FROM numbers;
