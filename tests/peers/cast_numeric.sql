-- narrowing between numbers: integers wrap, decimals that do not fit are NULL, doubles saturate
CREATE TABLE numbers (id INT, t TINYINT, s SMALLINT, i INT, b BIGINT, f FLOAT, d DOUBLE, m DECIMAL(10, 2), n DECIMAL(5, 3))
WITH ('connector' = 'filesystem', 'path' = '${DATA}/numbers.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT id, CAST(s AS TINYINT), CAST(i AS SMALLINT), CAST(b AS INT), CAST(d AS INT), CAST(d AS BIGINT), CAST(f AS INT), CAST(m AS INT), CAST(m AS DECIMAL(10, 1)), CAST(d AS DECIMAL(20, 3)),
  CAST(n AS DECIMAL(4, 2)), CAST(b AS DOUBLE), CAST(i AS FLOAT), CAST(m AS DOUBLE), CAST(b AS DECIMAL(10, 0)), CAST(i AS BOOLEAN) FROM numbers;
