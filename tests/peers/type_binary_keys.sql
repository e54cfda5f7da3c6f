-- binary and text types as keys, and their least and greatest
CREATE TABLE b (id INT, b BINARY(3), v VARBINARY(4), y BYTES, c CHAR(4), vc VARCHAR(4)) WITH ('connector' = 'filesystem', 'path' = '${DATA}/binary.json', 'format' = 'json');
SELECT b, c, COUNT(*), MIN(vc), MAX(c) FROM b GROUP BY b, c;
