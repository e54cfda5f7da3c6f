-- and in collections
SET 'table.exec.sink.type-length-enforcer' = 'TRIM_PAD';
SET 'table.exec.sink.nested-constraint-enforcer' = 'ROWS_AND_COLLECTIONS';
CREATE TABLE o (id INT, r ROW<a VARCHAR(2), b CHAR(4)>, ar ARRAY<CHAR(3)>, m MAP<CHAR(2), VARCHAR(1)>) WITH ('connector' = 'print');
INSERT INTO o SELECT 1, CAST(ROW('abc', 'x') AS ROW<a STRING, b CHAR(1)>), CAST(ARRAY['abcd', 'y'] AS ARRAY<CHAR(4)>), CAST(MAP['k', 'abc'] AS MAP<CHAR(1), STRING>);
