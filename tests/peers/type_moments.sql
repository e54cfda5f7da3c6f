-- TIMESTAMP and TIMESTAMP_LTZ of every unit, TIME, DATE
CREATE TABLE v (id INT, t0 TIMESTAMP(0), t1 TIMESTAMP(1), t3 TIMESTAMP(3), t6 TIMESTAMP(6), t9 TIMESTAMP(9), l0 TIMESTAMP_LTZ(0), l3 TIMESTAMP_LTZ(3), l6 TIMESTAMP_LTZ(6), l9 TIMESTAMP_LTZ(9), h TIME, d DATE)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/moments.csv', 'format' = 'csv', 'csv.field-delimiter' = ';', 'csv.null-literal' = '');
SELECT * FROM v;
