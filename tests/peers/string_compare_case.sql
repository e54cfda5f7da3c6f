-- string literals of different length: types and padding of CHAR in CASE, VALUES and comparison
SELECT CASE WHEN x = 'a' THEN 'yes' ELSE 'nope' END, x, CHAR_LENGTH(x), x || '!' FROM (VALUES ('a'), ('bbb')) AS t(x);
