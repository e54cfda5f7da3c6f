CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/longs.bin', 'format' = 'raw');
SELECT n FROM numbers;
