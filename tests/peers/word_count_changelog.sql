-- running counts without mini-batch: every input row gives its own update, in order
CREATE TABLE msgs (line STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/messages.txt', 'format' = 'raw');
SELECT word, COUNT(*) FROM msgs CROSS JOIN UNNEST(REGEXP_EXTRACT_ALL(LOWER(line), '\w+', 0)) AS t(word) GROUP BY word;
