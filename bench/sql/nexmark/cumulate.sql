-- sink: auction BIGINT, num BIGINT, total BIGINT, window_start TIMESTAMP(3), window_end TIMESTAMP(3)
-- bids and their sum per auction, growing every 2 seconds up to 10
SELECT auction, COUNT(*), SUM(price), window_start, window_end
FROM TABLE(CUMULATE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
GROUP BY auction, window_start, window_end
