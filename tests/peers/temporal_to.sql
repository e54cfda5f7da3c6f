-- strings to dates and timestamps; what does not parse is NULL
CREATE TABLE casts (id INT, n STRING, d STRING, ts STRING, b STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/casts.csv', 'format' = 'csv');
SELECT id, TO_TIMESTAMP(ts), TO_TIMESTAMP(d, 'yyyy-MM-dd'), TO_DATE(d), UNIX_TIMESTAMP(ts), FROM_UNIXTIME(id * 1000), TO_TIMESTAMP_LTZ(id * 1000, 3), TO_TIMESTAMP_LTZ(id, 0) FROM casts;
