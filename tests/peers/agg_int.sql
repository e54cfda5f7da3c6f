-- COUNT, SUM, AVG, MIN, MAX over integers: result types, NULLs, truncated averages
CREATE TABLE numbers (id INT, t TINYINT, s SMALLINT, i INT, b BIGINT, f FLOAT, d DOUBLE, m DECIMAL(10, 2), n DECIMAL(5, 3))
WITH ('connector' = 'filesystem', 'path' = '${DATA}/numbers.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT COUNT(*), COUNT(t), SUM(t), AVG(t), MIN(t), MAX(t), SUM(s), AVG(s), SUM(i), AVG(i), MIN(i), MAX(i), SUM(b), AVG(b), MIN(b), MAX(b), COUNT(DISTINCT s) FROM numbers;
