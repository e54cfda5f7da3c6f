-- the same in a session time zone; LTZ prints in it
SET 'table.local-time-zone' = 'Asia/Kolkata';
CREATE TABLE v (id INT, t0 TIMESTAMP(0), t1 TIMESTAMP(1), t3 TIMESTAMP(3), t6 TIMESTAMP(6), t9 TIMESTAMP(9), l0 TIMESTAMP_LTZ(0), l3 TIMESTAMP_LTZ(3), l6 TIMESTAMP_LTZ(6), l9 TIMESTAMP_LTZ(9), h TIME, d DATE)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/moments.csv', 'format' = 'csv', 'csv.field-delimiter' = ';', 'csv.null-literal' = '');
SELECT id, l0, l3, l6, l9, CAST(l9 AS TIMESTAMP(9)), CAST(t9 AS TIMESTAMP_LTZ(9)), CAST(l6 AS STRING), CAST(l0 AS DATE), CAST(l3 AS TIME) FROM v;
