-- a length inside a row, enforced by TRIM_PAD
SET 'table.exec.sink.type-length-enforcer' = 'TRIM_PAD';
SET 'table.exec.sink.nested-constraint-enforcer' = 'ROWS';
CREATE TABLE n (id INT, r ROW<vc VARCHAR(2)>) WITH ('connector' = 'filesystem', 'path' = '${DATA}/type_rows.json', 'format' = 'json');
CREATE TABLE o (id INT, r ROW<vc VARCHAR(2)>) WITH ('connector' = 'print');
INSERT INTO o SELECT id, r FROM n WHERE id <> 3;
