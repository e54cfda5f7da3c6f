-- regular expressions are Java's: \w and \d are ASCII
CREATE TABLE strings (id INT, a STRING, b STRING, c STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/strings.csv', 'format' = 'csv');
SELECT id, REGEXP_EXTRACT_ALL(LOWER(c), '\w+', 0), REGEXP_EXTRACT_ALL(c, '([A-Z])(\d+)', 2), REGEXP_EXTRACT_ALL(c, '([A-Z])(\d+)', 1), REGEXP_EXTRACT_ALL(c, '(\d+)'), REGEXP_EXTRACT(c, '(\w)-(\d)', 2),
  REGEXP_REPLACE(c, '\W+', '_'), REGEXP(c, 'e$'), REGEXP_EXTRACT_ALL(c, '(', 0) FROM strings;
