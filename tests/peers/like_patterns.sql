-- LIKE and NOT LIKE: wildcards, ESCAPE, NULL, case
CREATE TABLE strings (id INT, a STRING, b STRING, c STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/strings.csv', 'format' = 'csv');
SELECT id, a LIKE '%o%', a LIKE 'Hello%', a LIKE '_ello World', a NOT LIKE '%l%', a LIKE 'hello%', c LIKE '50\%%' ESCAPE '\', c LIKE '50!%!_off' ESCAPE '!', a LIKE '', c LIKE '%' || b || '%',
  a LIKE 'a,b_c', a SIMILAR TO '(Hello|Bye).*' FROM strings;
