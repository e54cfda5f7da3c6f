-- an integer divided by zero fails the job
SELECT a / b FROM (VALUES (1, 0)) AS t(a, b);
