CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/longs.bin', 'format' = 'raw', 'raw.endianness' = 'little-endian');
SELECT n FROM numbers;
