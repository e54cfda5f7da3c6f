-- digests, encodings, URLs, over a column with NULL and the empty text
CREATE TABLE strings (id INT, a STRING, b STRING, c STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/strings.csv', 'format' = 'csv', 'csv.null-literal' = 'x');
SELECT id, MD5(a), SHA1(b), SHA256(c), SHA2(a, 224), TO_BASE64(a), FROM_BASE64(TO_BASE64(b)), ENCODE(b, 'UTF-16BE'), URL_ENCODE(a), HEX(b), ASCII(b), CHR(id + 64), PARSE_URL('http://h/p?x=' || b, 'QUERY') FROM strings;
