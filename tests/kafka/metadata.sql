-- What records tell beside their rows: metadata columns of kafka and of debezium-json, read and written.
-- Compared with real Flink and real Kafka by: bench/parity.py tests/kafka/metadata.sql --topic changes=tests/kafka/metadata.json
-- deterministic: no (Flink plans VALUES as a union of inputs, which come in any order)
SET 'parallelism.default' = '1';
SET 'table.dml-sync' = 'true';

CREATE TABLE changes (
  id BIGINT,
  owner STRING,
  described STRING METADATA FROM 'value.schema' VIRTUAL,
  told_at TIMESTAMP_LTZ(3) METADATA FROM 'value.ingestion-timestamp' VIRTUAL,
  made_at TIMESTAMP_LTZ(3) METADATA FROM 'value.source.timestamp' VIRTUAL,
  db STRING METADATA FROM 'value.source.database' VIRTUAL,
  `schema` STRING METADATA FROM 'value.source.schema' VIRTUAL,
  `table` STRING METADATA FROM 'value.source.table' VIRTUAL,
  properties MAP<STRING, STRING> METADATA FROM 'value.source.properties' VIRTUAL,
  `partition` INT METADATA VIRTUAL,
  `offset` BIGINT METADATA VIRTUAL,
  kind STRING METADATA FROM 'timestamp-type' VIRTUAL,
  headers MAP<STRING, BYTES> METADATA VIRTUAL,
  epoch INT METADATA FROM 'leader-epoch' VIRTUAL
) WITH (
  'connector' = 'kafka', 'topic' = 'changes', 'properties.bootstrap.servers' = '${BOOTSTRAP}', 'scan.startup.mode' = 'earliest-offset',
  'scan.bounded.mode' = 'latest-offset', 'format' = 'debezium-json', 'debezium-json.ignore-parse-errors' = 'true'
);

CREATE TABLE told (
  id BIGINT,
  made TIMESTAMP_LTZ(3) METADATA FROM 'timestamp',
  headers MAP<STRING, BYTES> METADATA,
  topic STRING METADATA VIRTUAL,
  place INT METADATA FROM 'partition' VIRTUAL,
  `offset` BIGINT METADATA VIRTUAL,
  kind STRING METADATA FROM 'timestamp-type' VIRTUAL,
  epoch INT METADATA FROM 'leader-epoch' VIRTUAL
) WITH (
  'connector' = 'kafka', 'topic' = 'told', 'properties.bootstrap.servers' = '${BOOTSTRAP}', 'scan.startup.mode' = 'earliest-offset',
  'scan.bounded.mode' = 'latest-offset', 'format' = 'json'
);

SELECT id, owner, described, told_at, made_at, db, `schema`, `table`, CARDINALITY(properties) AS n, properties['snapshot'] AS snap, properties['lsn'] AS lsn,
  `partition`, `offset`, kind, CARDINALITY(headers) AS h, epoch
FROM changes;

INSERT INTO told
SELECT id, TO_TIMESTAMP_LTZ(1772352000000 + id, 3), MAP['name', CAST(name AS BYTES), 'empty', CAST('' AS BYTES)]
FROM (VALUES (1, 'ann'), (2, 'bö'), (3, CAST(NULL AS STRING))) AS v (id, name);

-- Which offset a row has is nobody's promise: Flink plans these VALUES as a union of three inputs, which come in any order.
SELECT id, made, CARDINALITY(headers) AS n, CAST(headers['name'] AS STRING) AS name, headers['empty'] AS blank, topic LIKE '%told' AS is_told, place,
  `offset` BETWEEN 0 AND 2 AS is_near, kind, epoch
FROM told;
