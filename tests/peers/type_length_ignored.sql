-- lengths are not enforced by default
CREATE TABLE b (id INT, b BINARY(3), v VARBINARY(4), y BYTES, c CHAR(4), vc VARCHAR(4)) WITH ('connector' = 'filesystem', 'path' = '${DATA}/binary.json', 'format' = 'json');
CREATE TABLE o (id INT, b BINARY(2), v VARBINARY(2), c CHAR(9), vc VARCHAR(2)) WITH ('connector' = 'print');
INSERT INTO o SELECT id, b, y, c, vc FROM b;
