-- lengths inside rows are not enforced by themselves
SET 'table.exec.sink.type-length-enforcer' = 'ERROR';
CREATE TABLE n (id INT, r ROW<vc VARCHAR(2)>) WITH ('connector' = 'filesystem', 'path' = '${DATA}/type_rows.json', 'format' = 'json');
CREATE TABLE o (id INT, r ROW<vc VARCHAR(2)>) WITH ('connector' = 'print');
INSERT INTO o SELECT id, r FROM n WHERE id <> 3;
