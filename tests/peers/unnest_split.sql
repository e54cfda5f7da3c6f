-- the words of SPLIT, empty ones included
CREATE TABLE strings (id INT, a STRING, b STRING, c STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/strings.csv', 'format' = 'csv');
SELECT id, word, CHAR_LENGTH(word) FROM strings CROSS JOIN UNNEST(SPLIT(c, ' ')) AS t(word);
