CREATE TABLE t (a INT)
WITH ('topic' = 't',
      'connector' = 'kafkaa');
SELECT * FROM t;
