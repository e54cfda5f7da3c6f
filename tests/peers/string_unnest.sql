-- one row a word: CROSS JOIN UNNEST of SPLIT and of REGEXP_EXTRACT_ALL; NULL and empty arrays give no row
CREATE TABLE strings (id INT, a STRING, b STRING, c STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/strings.csv', 'format' = 'csv');
SELECT id, word FROM strings CROSS JOIN UNNEST(REGEXP_EXTRACT_ALL(LOWER(c), '\w+', 0)) AS t(word);
