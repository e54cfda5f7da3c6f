-- without aggregation a size need not be a multiple of the slide
CREATE TABLE visits (k STRING, g STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/visits.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT k, v, window_start, window_end FROM TABLE(HOP(TABLE visits, DESCRIPTOR(ts), INTERVAL '4' SECOND, INTERVAL '10' SECOND));
