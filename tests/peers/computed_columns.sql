-- computed columns see physical ones only; the order of columns is the declared one
CREATE TABLE clicks (userId STRING, twice AS clicks * 2, clicks INT, t TIMESTAMP(3), h AS HOUR(t)) WITH ('connector' = 'filesystem', 'path' = '${DATA}/clicks.csv', 'format' = 'csv');
SELECT * FROM clicks WHERE twice > 2;
