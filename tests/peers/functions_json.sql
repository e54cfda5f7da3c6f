-- functions of JSON over a column, with NULL and text that is no JSON
CREATE TABLE j (id INT, s STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/json_texts.csv', 'format' = 'csv', 'csv.field-delimiter' = '|', 'csv.null-literal' = '', 'csv.quote-character' = '''');
SELECT id, s IS JSON, s IS JSON OBJECT, JSON_EXISTS(s, '$.a'), JSON_VALUE(s, '$.a'), JSON_VALUE(s, '$.b' NULL ON EMPTY DEFAULT 'e' ON ERROR), JSON_QUERY(s, '$.b'), JSON_QUERY(s, '$.b[0]' WITH WRAPPER), JSON_OBJECT('id' VALUE id, 's' VALUE s NULL ON NULL), JSON_ARRAY(id, s ABSENT ON NULL) FROM j;
