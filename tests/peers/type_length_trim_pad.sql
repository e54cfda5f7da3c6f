-- lengths are enforced where that is asked for
SET 'table.exec.sink.type-length-enforcer' = 'TRIM_PAD';
CREATE TABLE b (id INT, b BINARY(3), v VARBINARY(4), y BYTES, c CHAR(4), vc VARCHAR(4)) WITH ('connector' = 'filesystem', 'path' = '${DATA}/binary.json', 'format' = 'json');
CREATE TABLE o (id INT, b BINARY(2), v VARBINARY(2), c CHAR(6), vc VARCHAR(3)) WITH ('connector' = 'print');
INSERT INTO o SELECT id, b, v, c, vc FROM b WHERE c IS NOT NULL;
