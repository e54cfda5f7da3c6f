-- Five numbers, doubled. It ends with its input.
-- flott run examples/times-two/job.sql -p 1
CREATE TABLE doubled (x INT) WITH ('connector' = 'print');

INSERT INTO doubled SELECT x * 2 FROM (VALUES (1), (2), (3), (4), (5)) AS t(x);
