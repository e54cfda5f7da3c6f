-- lengths inside rows are not enforced
SET 'table.exec.sink.type-length-enforcer' = 'TRIM_PAD';
CREATE TABLE o (id INT, r ROW<a VARCHAR(2), b CHAR(4)>, ar ARRAY<CHAR(3)>) WITH ('connector' = 'print');
INSERT INTO o SELECT 1, CAST(ROW('abc', 'x') AS ROW<a STRING, b CHAR(1)>), CAST(ARRAY['abcd', 'y'] AS ARRAY<CHAR(4)>);
