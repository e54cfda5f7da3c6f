-- over the whole input, and over nothing
-- deterministic: no
SELECT PERCENTILE(i, 0.5), PERCENTILE(i, ARRAY[0.1, 0.9]), PERCENTILE(i, 0.5) FILTER (WHERE i > 100), COUNT(*) FROM (VALUES (1), (5), (CAST(NULL AS INT)), (3)) AS t(i);
