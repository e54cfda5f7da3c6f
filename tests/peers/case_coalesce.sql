-- CASE in both forms, COALESCE, NULLIF, IF, IFNULL; common types
CREATE TABLE numbers (id INT, t TINYINT, s SMALLINT, i INT, b BIGINT, f FLOAT, d DOUBLE, m DECIMAL(10, 2), n DECIMAL(5, 3))
WITH ('connector' = 'filesystem', 'path' = '${DATA}/numbers.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT id, CASE WHEN t > 0 THEN 'pos' WHEN t < 0 THEN 'negative' ELSE 'zero' END, CASE id WHEN 1 THEN 10 WHEN 2 THEN 2.5 END, CASE WHEN id > 3 THEN t ELSE b END,
  COALESCE(t, 0), COALESCE(t, s, id), COALESCE(m, 0), NULLIF(t, 7), NULLIF(id, 3), IF(t > 0, 'a', 'bb'), IFNULL(s, -1), COALESCE(f, d), GREATEST(id, 3), LEAST(id, 3) FROM numbers;
