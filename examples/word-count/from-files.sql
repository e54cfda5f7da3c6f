-- The same counts from a text file, one line a record, to the terminal. It ends with its input.
-- flott run examples/word-count/from-files.sql --var INPUT=examples/word-count/golden/my-topic.txt
CREATE TABLE msgs (line STRING) WITH ('connector' = 'filesystem', 'path' = '${INPUT}', 'format' = 'raw');

CREATE TABLE counts (word STRING, cnt BIGINT) WITH ('connector' = 'print');

INSERT INTO counts
SELECT word, COUNT(*)
FROM msgs CROSS JOIN UNNEST(REGEXP_EXTRACT_ALL(LOWER(line), '\w+', 0)) AS t(word)
GROUP BY word;
