SELECT 1;
CREATE TABLE t (a INT)
WITH ('connector' = 'kafka', 'topic' = '${UNSET}');
