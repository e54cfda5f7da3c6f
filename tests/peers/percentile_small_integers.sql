-- over columns of a table: intervals and moments are no numbers, TINYINT is
-- deterministic: no
SELECT PERCENTILE(CAST(i AS TINYINT), CAST(0.5 AS FLOAT)), PERCENTILE(CAST(i AS SMALLINT), 1), PERCENTILE(i, ARRAY[0, 1], CAST(2 AS TINYINT)) FROM (VALUES (1), (2)) AS t(i);
