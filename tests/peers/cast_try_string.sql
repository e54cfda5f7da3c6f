-- TRY_CAST of strings to every type: blanks around, signs, fractions, other spellings; NULL where it cannot
CREATE TABLE casts (id INT, n STRING, d STRING, ts STRING, b STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/casts.csv', 'format' = 'csv');
SELECT id, TRY_CAST(n AS TINYINT), TRY_CAST(n AS INT), TRY_CAST(n AS BIGINT), TRY_CAST(n AS FLOAT), TRY_CAST(n AS DOUBLE), TRY_CAST(n AS DECIMAL(5, 1)), TRY_CAST(d AS DATE), TRY_CAST(ts AS TIMESTAMP(3)),
  TRY_CAST(ts AS TIMESTAMP(9)), TRY_CAST(ts AS TIMESTAMP(0)), TRY_CAST(ts AS TIMESTAMP_LTZ(3)), TRY_CAST(d AS TIMESTAMP(3)), TRY_CAST(ts AS DATE), TRY_CAST(b AS BOOLEAN) FROM casts;
