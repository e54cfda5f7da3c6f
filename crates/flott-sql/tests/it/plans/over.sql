-- OVER windows: by age, and by number without partition
CREATE TABLE bids (auction BIGINT, price BIGINT, note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'kafka', 'topic' = 'bids', 'properties.bootstrap.servers' = '${BOOTSTRAP}', 'properties.group.id' = 'g', 'format' = 'json');
SELECT auction, price, AVG(price) OVER w AS mean, COUNT(DISTINCT price) OVER w + 1 AS prices
FROM bids WHERE price > 10
WINDOW w AS (PARTITION BY auction ORDER BY ts RANGE BETWEEN INTERVAL '10' MINUTE PRECEDING AND CURRENT ROW);
SELECT price, ROW_NUMBER() OVER (ORDER BY ts) AS n FROM bids;
