-- binary and text types with lengths, from JSON: sources do not enforce lengths
CREATE TABLE b (id INT, b BINARY(3), v VARBINARY(4), y BYTES, c CHAR(4), vc VARCHAR(4)) WITH ('connector' = 'filesystem', 'path' = '${DATA}/binary.json', 'format' = 'json');
SELECT *, CHAR_LENGTH(c), CHAR_LENGTH(vc), CAST(y AS STRING), b = v, c = 'ab', vc || '!', CAST(vc AS CHAR(2)), CAST(b AS BINARY(5)), CAST(v AS VARBINARY(2)) FROM b;
