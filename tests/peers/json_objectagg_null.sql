-- NULLs in an object
CREATE TABLE sales (id INT, shop STRING, amount INT, price DECIMAL(8, 2), w DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/sales.csv', 'format' = 'csv', 'csv.null-literal' = '');
SELECT id, JSON_OBJECTAGG(KEY CAST(id AS STRING) VALUE amount), JSON_OBJECTAGG(KEY CAST(id AS STRING) VALUE amount NULL ON NULL), JSON_OBJECTAGG(KEY CAST(id AS STRING) VALUE amount ABSENT ON NULL), JSON_OBJECTAGG('x' VALUE price), JSON_OBJECTAGG('x': w) FROM sales GROUP BY id;
