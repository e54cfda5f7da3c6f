-- names of catalogs and databases
CREATE DATABASE a;
USE a;
CREATE TABLE lines (line STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/lines.txt', 'format' = 'raw');
CREATE VIEW v AS SELECT UPPER(line) AS line FROM lines;
USE default_database;
SELECT line FROM default_catalog.a.v WHERE line <> '';
