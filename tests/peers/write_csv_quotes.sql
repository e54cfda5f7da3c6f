-- which text the csv format quotes
-- file: 'format' = 'csv'
CREATE TABLE strings (id INT, a STRING, b STRING, c STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/strings.csv', 'format' = 'csv');
SELECT id, a, b, c, '', 'tab	x', 'a.b', 'a_b', 'x-1', '1.5', '#x', 'é', 'line' || CAST(NULL AS STRING) FROM strings;
