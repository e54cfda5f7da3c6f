-- deletions let the next row in
-- wrong: Flink hands the limit to the file source, which then reads two events only: the deletions behind them are lost
CREATE TABLE changes (id INT, shop STRING, amount INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/changes.json', 'format' = 'debezium-json');
SELECT id, shop, amount FROM changes LIMIT 2;
