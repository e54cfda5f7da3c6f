-- rows and arrays in CSV
CREATE TABLE n (id INT, r ROW<a INT, b STRING>, ar ARRAY<INT>) WITH ('connector' = 'filesystem', 'path' = '${DATA}/csv_nested.csv', 'format' = 'csv', 'csv.array-element-delimiter' = '|');
SELECT * FROM n;
