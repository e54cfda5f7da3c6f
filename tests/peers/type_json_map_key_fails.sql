-- keys of JSON's maps are text
CREATE TABLE n (id INT, m MAP<INT, INT>) WITH ('connector' = 'filesystem', 'path' = '${DATA}/types.json', 'format' = 'json');
SELECT * FROM n;
