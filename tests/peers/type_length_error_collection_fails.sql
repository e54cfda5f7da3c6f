-- a length inside a collection, enforced by ERROR
SET 'table.exec.sink.type-length-enforcer' = 'ERROR';
SET 'table.exec.sink.nested-constraint-enforcer' = 'ROWS_AND_COLLECTIONS';
CREATE TABLE n (id INT, a ARRAY<VARCHAR(2)>) WITH ('connector' = 'filesystem', 'path' = '${DATA}/type_rows.json', 'format' = 'json');
CREATE TABLE o (id INT, a ARRAY<VARCHAR(2)>) WITH ('connector' = 'print');
INSERT INTO o SELECT id, a FROM n WHERE id <> 3;
