-- what the escape character escapes
-- file: 'format' = 'csv', 'csv.escape-character' = '\'
CREATE TABLE strings (id INT, a STRING, b STRING, c STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/strings.csv', 'format' = 'csv');
SELECT id, a, b, c, 'back\slash', 'line' FROM strings;
