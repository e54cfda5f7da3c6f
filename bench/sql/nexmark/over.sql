-- sink: auction BIGINT, price BIGINT, recent BIGINT, highest BIGINT, total BIGINT
-- each bid with the bids on its auction in the 10 seconds up to it
SELECT auction, price, COUNT(*) OVER w, MAX(price) OVER w, SUM(price) OVER w
FROM bid WINDOW w AS (PARTITION BY auction ORDER BY `dateTime` RANGE BETWEEN INTERVAL '10' SECOND PRECEDING AND CURRENT ROW)
