-- VALUES as a table
SELECT b, a + 1 FROM (VALUES (1, 'x'), (2, CAST(NULL AS STRING)), (3, 'long')) AS t(a, b);
