-- hours of the day in a time zone, over a change to summer time

SET 'table.local-time-zone' = 'Europe/Berlin';
CREATE VIEW moments AS SELECT id, TO_TIMESTAMP_LTZ(ms, 3) AS moment FROM (VALUES (1, 1774742400000), (2, 1774744200000), (3, 1774746000000), (4, 1774748700000), (5, 1792886400000), (6, 1792890000000), (7, 1792893600000)) AS v (id, ms);
SELECT id, CAST(moment AS STRING) AS local_text, DATE_FORMAT(moment, 'EEE HH:mm') AS short, EXTRACT(HOUR FROM moment) AS hour_of_day, CAST(moment AS DATE) AS day_of_it, CONVERT_TZ(DATE_FORMAT(moment, 'yyyy-MM-dd HH:mm:ss'), 'Europe/Berlin', 'UTC') AS utc_text, UNIX_TIMESTAMP(DATE_FORMAT(moment, 'yyyy-MM-dd HH:mm:ss')) AS seconds, CONVERT_TZ('2026-03-29 02:30:00', 'Europe/Berlin', 'UTC') AS in_the_gap FROM moments;
