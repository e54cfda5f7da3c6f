-- SPLIT: NULL, empty, missing and empty delimiters
CREATE TABLE strings (id INT, a STRING, b STRING, c STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/strings.csv', 'format' = 'csv');
SELECT id, SPLIT(a, ','), SPLIT(c, ' '), SPLIT(a, b), SPLIT(a, ''), SPLIT('', ','), SPLIT(',a,', ','), CARDINALITY(SPLIT(c, ' ')), SPLIT(c, ' ')[1], SPLIT_INDEX(a, ',', 1) FROM strings;
