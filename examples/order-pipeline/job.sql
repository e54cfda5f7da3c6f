-- Orders from JSON, cleaned, into CSV files by day. It ends with its input.
-- flott run examples/order-pipeline/job.sql --var INPUT=examples/order-pipeline/golden/orders.json --var OUTPUT=/tmp/orders
CREATE TABLE raw_orders (
    id BIGINT,
    customer ROW<name STRING, country STRING>,
    amount STRING,
    currency STRING,
    created STRING
) WITH ('connector' = 'filesystem', 'path' = '${INPUT}', 'format' = 'json');

CREATE TABLE clean_orders (
    id BIGINT,
    customer STRING,
    country STRING,
    amount DECIMAL(12, 2),
    currency STRING,
    created TIMESTAMP(3),
    created_day STRING
) PARTITIONED BY (created_day) WITH (
    'connector' = 'filesystem',
    'path' = '${OUTPUT}',
    'format' = 'csv',
    'csv.null-literal' = '\N',
    'sink.partition-commit.policy.kind' = 'success-file'
);

INSERT INTO clean_orders
SELECT
    id,
    TRIM(customer.name),
    COALESCE(UPPER(customer.country), 'XX'),
    TRY_CAST(amount AS DECIMAL(12, 2)),
    UPPER(currency),
    TRY_CAST(created AS TIMESTAMP(3)),
    SUBSTRING(created FROM 1 FOR 10)
FROM raw_orders
WHERE id IS NOT NULL AND TRY_CAST(created AS TIMESTAMP(3)) IS NOT NULL;
