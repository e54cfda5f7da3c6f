-- file: 'format' = 'raw'
CREATE TABLE lines (line STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/lines.txt', 'format' = 'raw');
SELECT UPPER(line) FROM lines;
