-- or the job fails
SET 'table.exec.sink.type-length-enforcer' = 'ERROR';
CREATE TABLE b (id INT, b BINARY(3), v VARBINARY(4), y BYTES, c CHAR(4), vc VARCHAR(4)) WITH ('connector' = 'filesystem', 'path' = '${DATA}/binary.json', 'format' = 'json');
CREATE TABLE o (id INT, vc VARCHAR(4)) WITH ('connector' = 'print');
INSERT INTO o SELECT id, vc FROM b WHERE vc IS NOT NULL;
