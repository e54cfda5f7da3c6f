-- a column of VARIANT
CREATE TABLE t (v VARIANT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/pairs.json', 'format' = 'json');
SELECT v FROM t;
