-- CSV has no maps
CREATE TABLE n (id INT, m MAP<STRING, INT>) WITH ('connector' = 'filesystem', 'path' = '${DATA}/csv_nested.csv', 'format' = 'csv');
SELECT * FROM n;
