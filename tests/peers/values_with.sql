-- VALUES behind WITH
WITH t (a, b) AS (VALUES (1, 'x'), (2, 'y')) SELECT a, b FROM t WHERE b <> 'x';
