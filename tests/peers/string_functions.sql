-- lower, upper, length, trim, replace, position, substring and concatenation over NULL, blanks and letters outside ASCII
CREATE TABLE strings (id INT, a STRING, b STRING, c STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/strings.csv', 'format' = 'csv');
SELECT id, LOWER(a), UPPER(a), CHAR_LENGTH(a), CHARACTER_LENGTH(c), REPLACE(a, b, '#'), TRIM(a), LTRIM(a), RTRIM(a), POSITION(b IN a), SUBSTRING(a, 2, 3), SUBSTRING(a FROM 4), SUBSTRING(a, -3),
  SUBSTRING(a, 0, 2), a || '|' || b, CONCAT(a, b, c), CONCAT_WS('-', a, b, c), REVERSE(a), LEFT(a, 2), RIGHT(a, 2), LPAD(b, 4, '*'), RPAD(b, 4, '*'), REPEAT(b, 2), INITCAP(c) FROM strings;
