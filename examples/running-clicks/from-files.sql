-- Each event with the clicks of its user so far. It ends with its input, a line user,clicks each.
-- flott run examples/running-clicks/from-files.sql --var INPUT=examples/running-clicks/golden/clicks.csv -p 1
CREATE TABLE clicks (
    userId STRING,
    clicks INT,
    pt AS PROCTIME()
) WITH ('connector' = 'filesystem', 'path' = '${INPUT}', 'format' = 'csv');

CREATE TABLE counts (userId STRING, clicks INT, clickCount INT) WITH ('connector' = 'print');

INSERT INTO counts
SELECT userId, clicks, SUM(clicks) OVER (PARTITION BY userId ORDER BY pt ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
FROM clicks;
