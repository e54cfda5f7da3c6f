-- SUM and AVG over decimals, integers as decimals, and sums beside literals
CREATE TABLE wide (a DECIMAL(38, 0), b DECIMAL(38, 18)) WITH ('connector' = 'filesystem', 'path' = '${DATA}/wide.csv', 'format' = 'csv');
SELECT SUM(b), AVG(b), SUM(CAST(a AS DECIMAL(38, 0))), MAX(a), SUM(b) * 2, COUNT(*) + 1, SUM(b) / COUNT(*) FROM wide;
