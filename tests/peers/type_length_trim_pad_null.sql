-- NULL has no length
-- wrong: NULL from a source fails with a NullPointerException where lengths are enforced by TRIM_PAD
SET 'table.exec.sink.type-length-enforcer' = 'TRIM_PAD';
CREATE TABLE b (id INT, b BINARY(3), v VARBINARY(4), y BYTES, c CHAR(4), vc VARCHAR(4)) WITH ('connector' = 'filesystem', 'path' = '${DATA}/binary.json', 'format' = 'json');
CREATE TABLE o (id INT, vc VARCHAR(4)) WITH ('connector' = 'print');
INSERT INTO o SELECT id, vc FROM b WHERE id < 4;
