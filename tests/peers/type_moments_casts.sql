-- moments cast to other precisions and to text
CREATE TABLE v (id INT, t0 TIMESTAMP(0), t1 TIMESTAMP(1), t3 TIMESTAMP(3), t6 TIMESTAMP(6), t9 TIMESTAMP(9), l0 TIMESTAMP_LTZ(0), l3 TIMESTAMP_LTZ(3), l6 TIMESTAMP_LTZ(6), l9 TIMESTAMP_LTZ(9), h TIME, d DATE)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/moments.csv', 'format' = 'csv', 'csv.field-delimiter' = ';', 'csv.null-literal' = '');
SELECT id, CAST(t9 AS TIMESTAMP(0)), CAST(t9 AS TIMESTAMP(3)), CAST(t9 AS TIMESTAMP(5)), CAST(t0 AS TIMESTAMP(9)), CAST(t6 AS STRING), CAST(t9 AS STRING), CAST(t1 AS STRING), CAST(h AS STRING), CAST(t3 AS TIME), CAST(d AS TIMESTAMP(3)), t9 > t6, t3 = t0, l9 >= l3 FROM v WHERE id NOT IN (2, 5);
