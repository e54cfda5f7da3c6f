-- Bids per folder, from the files that job.sql wrote.
-- flott run examples/auction-files/read.sql --var INPUT=/tmp/bids -p 1
CREATE TABLE bids (auction BIGINT, bidder BIGINT, price BIGINT, `dateTime` TIMESTAMP(3), extra STRING, dt STRING, hm STRING)
PARTITIONED BY (dt, hm) WITH ('connector' = 'filesystem', 'path' = '${INPUT}', 'format' = 'csv');

CREATE TABLE rows_of (dt STRING, hm STRING, auction BIGINT, price BIGINT, extra STRING) WITH ('connector' = 'print');

INSERT INTO rows_of SELECT dt, hm, auction, price, extra FROM bids WHERE hm <> '00:02';
