-- wrong: parts of a time before 1970 come out as 1970 and as negative hours, casts to DATE round towards zero
SELECT YEAR(ts), MONTH(ts), HOUR(ts), MINUTE(ts), CAST(ts AS DATE), DATE_FORMAT(ts, 'yyyy-MM-dd HH'), CAST(l AS DATE)
FROM (VALUES (TIMESTAMP '1969-12-31 00:00:00.001', TO_TIMESTAMP_LTZ(-1, 3))) AS t(ts, l);
