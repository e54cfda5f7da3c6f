-- text does not become a number, nor inside a row
CREATE TABLE o (g ROW<x BIGINT>) WITH ('connector' = 'print');
INSERT INTO o SELECT ROW('a');
