-- an OPTIONS hint replaces a table option
CREATE TABLE lines (line STRING) WITH ('connector' = 'filesystem', 'path' = '/nowhere', 'format' = 'raw');
SELECT line FROM lines /*+ OPTIONS('path' = '${DATA}/lines.txt') */;
