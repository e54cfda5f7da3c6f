-- escape character and tab
CREATE TABLE t (a STRING, b STRING, n INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/escapes.csv', 'format' = 'csv', 'csv.escape-character' = '\', 'csv.field-delimiter' = '\t');
SELECT a, CHAR_LENGTH(a), b, CHAR_LENGTH(b), n FROM t;
