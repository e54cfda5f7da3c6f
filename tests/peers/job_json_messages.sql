-- fields picked out of JSON text, wrong ones as NULL

CREATE VIEW messages AS SELECT * FROM (VALUES (1, '{"type":"login","user":{"id":7,"tags":["a","b"]},"at":"2026-03-01T10:00:00Z"}'), (2, '{"type":"pay","user":{"id":"8"},"amount":"12.50","meta":null}'), (3, 'broken {'), (4, '{"type":"pay","user":{},"amount":7}'), (5, '{"type":"login","user":null}')) AS v (id, body);
SELECT id, JSON_VALUE(body, '$.type') AS type, TRY_CAST(JSON_VALUE(body, '$.user.id') AS INT) AS user_id, TRY_CAST(JSON_VALUE(body, '$.amount') AS DECIMAL(8, 2)) AS amount, JSON_QUERY(body, '$.user.tags') AS tags, JSON_EXISTS(body, '$.meta') AS has_meta, body IS JSON OBJECT AS is_object FROM messages;
