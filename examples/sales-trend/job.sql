-- A shop's sales per category and hour, and how many views became carts and orders. It ends with its input.
-- flott run examples/sales-trend/job.sql --var INPUT=examples/sales-trend/golden/events.json -p 1
CREATE TABLE events (
    ts TIMESTAMP(3),
    userId STRING,
    action STRING,
    item ROW<category STRING, price DECIMAL(10, 2)>,
    quantity INT,
    WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE
) WITH ('connector' = 'filesystem', 'path' = '${INPUT}', 'format' = 'json');

CREATE TABLE trend (
    hour_start TIMESTAMP(3),
    category STRING,
    viewed BIGINT,
    in_cart BIGINT,
    ordered BIGINT,
    buyers BIGINT,
    revenue DECIMAL(38, 2)
) WITH ('connector' = 'print');

INSERT INTO trend
SELECT
    window_start,
    item.category,
    COUNT(*) FILTER (WHERE action = 'view'),
    COUNT(*) FILTER (WHERE action = 'cart'),
    COUNT(*) FILTER (WHERE action = 'order'),
    COUNT(DISTINCT userId) FILTER (WHERE action = 'order'),
    SUM(item.price * quantity) FILTER (WHERE action = 'order')
FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' HOUR))
GROUP BY window_start, window_end, item.category;
