-- rows with NULL in a NOT NULL column are dropped where that is asked for
SET 'table.exec.sink.not-null-enforcer' = 'DROP';
CREATE TABLE b (id INT, b BINARY(3), v VARBINARY(4), y BYTES, c CHAR(4), vc VARCHAR(4)) WITH ('connector' = 'filesystem', 'path' = '${DATA}/binary.json', 'format' = 'json');
CREATE TABLE o (id INT, c STRING NOT NULL) WITH ('connector' = 'print');
INSERT INTO o SELECT id, c FROM b;
