-- which spellings of times are taken
CREATE TABLE n (ts TIMESTAMP(3), ts9 TIMESTAMP(9), d DATE, t TIME(3), l TIMESTAMP_LTZ(3)) WITH ('connector' = 'filesystem', 'path' = '${DATA}/times.json', 'format' = 'json', 'json.ignore-parse-errors' = 'true');
SELECT * FROM n;
