-- deterministic: no
-- integer arithmetic: result types, division that truncates, remainder of negatives
SELECT a, b, a + b, a - b, a * b, a / b, MOD(a, b), a % b, -a, ABS(a), CAST(a AS BIGINT) * b, CAST(a AS SMALLINT) + CAST(b AS TINYINT)
FROM (VALUES (7, 2), (-7, 2), (7, -2), (0, 5), (CAST(NULL AS INT), 3)) AS t(a, b);
