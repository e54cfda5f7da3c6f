CREATE TABLE g (id INT, k BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '3', 'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '5', 'fields.k.kind' = 'sequence', 'fields.k.start' = '10', 'fields.k.end' = '14');
SELECT * FROM g;
