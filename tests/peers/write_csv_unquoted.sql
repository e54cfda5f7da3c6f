-- file: 'format' = 'csv', 'csv.disable-quote-character' = 'true'
CREATE TABLE strings (id INT, a STRING, b STRING, c STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/strings.csv', 'format' = 'csv');
SELECT id, a, b, c FROM strings WHERE id <> 4;
