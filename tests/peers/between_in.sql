-- BETWEEN, NOT BETWEEN, SYMMETRIC, IN and NOT IN with and without NULL
CREATE TABLE numbers (id INT, t TINYINT, s SMALLINT, i INT, b BIGINT, f FLOAT, d DOUBLE, m DECIMAL(10, 2), n DECIMAL(5, 3))
WITH ('connector' = 'filesystem', 'path' = '${DATA}/numbers.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT id, s BETWEEN 0 AND 300, s NOT BETWEEN 0 AND 300, s BETWEEN 300 AND 0, s BETWEEN SYMMETRIC 300 AND 0, m BETWEEN 0 AND 99.99,
  t IN (7, 0), t NOT IN (7, 0), t IN (7, CAST(NULL AS TINYINT)), t NOT IN (7, CAST(NULL AS TINYINT)), id IN (1, 2, 3, 4, 5, 6, 7, 8, 9, 10), id NOT IN (2, 4) FROM numbers;
