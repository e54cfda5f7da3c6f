-- sink: auction BIGINT, host STRING, tail STRING, padded STRING, day_name STRING, hour_of_day BIGINT, price_text STRING, magnitude DOUBLE, masked STRING
-- a mix of functions over text, time and numbers
SELECT auction, UPPER(SPLIT_INDEX(url, '/', 2)), SUBSTRING(url FROM CHAR_LENGTH(url) - 7), LPAD(CAST(MOD(bidder, 10000) AS STRING), 8, '0'),
  DATE_FORMAT(`dateTime`, 'yyyy-MM-dd HH'), EXTRACT(HOUR FROM `dateTime`), CONCAT(channel, '-', CAST(price AS STRING)), ROUND(LOG10(CAST(price AS DOUBLE) + 1), 3),
  REPLACE(TRIM(BOTH ' ' FROM extra), 'a', '*')
FROM bid WHERE channel LIKE '%o%' AND COALESCE(url, '') <> ''
