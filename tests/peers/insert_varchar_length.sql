-- longer text passes into VARCHAR(n) unless table.exec.sink.type-length-enforcer says otherwise
CREATE TABLE strings (id INT, a STRING, b STRING, c STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/strings.csv', 'format' = 'csv');
CREATE TABLE o (a VARCHAR(4), b CHAR(3)) WITH ('connector' = 'print');
INSERT INTO o SELECT a, b FROM strings;
