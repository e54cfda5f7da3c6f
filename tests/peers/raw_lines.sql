-- one column of text, empty lines and blanks kept
CREATE TABLE lines (line STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/lines.txt', 'format' = 'raw');
SELECT line, CHAR_LENGTH(line) FROM lines;
