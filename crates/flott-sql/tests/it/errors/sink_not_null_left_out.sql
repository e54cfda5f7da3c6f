CREATE TABLE o (a INT NOT NULL, b INT) WITH ('connector' = 'print');
INSERT INTO o (b) VALUES (1);
