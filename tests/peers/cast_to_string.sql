-- every type as a string
CREATE TABLE numbers (id INT, t TINYINT, s SMALLINT, i INT, b BIGINT, f FLOAT, d DOUBLE, m DECIMAL(10, 2), n DECIMAL(5, 3))
WITH ('connector' = 'filesystem', 'path' = '${DATA}/numbers.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT id, CAST(t AS STRING), CAST(b AS STRING), CAST(f AS STRING), CAST(d AS STRING), CAST(m AS STRING), CAST(n AS VARCHAR(3)), CAST(id > 3 AS STRING), CAST(m AS CHAR(8)),
  CAST(CAST(i AS DOUBLE) AS STRING), CAST(ARRAY[id, i] AS STRING), CAST(ROW(id, 'x') AS STRING), CAST(MAP['k', id] AS STRING) FROM numbers;
