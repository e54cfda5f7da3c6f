CREATE TABLE lines (line STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/latin1.txt', 'format' = 'raw', 'raw.charset' = 'ISO-8859-1');
SELECT line, CHAR_LENGTH(line) FROM lines;
