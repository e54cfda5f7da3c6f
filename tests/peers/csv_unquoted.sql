-- quotes are text
CREATE TABLE t (n INT, s STRING, tags STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/unit.csv', 'format' = 'csv', 'csv.field-delimiter' = U&'\0001', 'csv.disable-quote-character' = 'true');
SELECT * FROM t;
