-- file: 'format' = 'csv', 'csv.field-delimiter' = ';', 'csv.quote-character' = '''', 'csv.null-literal' = 'NULL', 'csv.array-element-delimiter' = '|'
CREATE TABLE good (id INT, place STRING, m DECIMAL(4, 2), ok BOOLEAN, ts TIMESTAMP(6), note STRING, tags ARRAY<STRING>) WITH ('connector' = 'filesystem', 'path' = '${DATA}/good.csv', 'format' = 'csv',
  'csv.field-delimiter' = ';', 'csv.quote-character' = '''', 'csv.null-literal' = 'NULL', 'csv.array-element-delimiter' = '|', 'csv.allow-comments' = 'true');
SELECT * FROM good;
