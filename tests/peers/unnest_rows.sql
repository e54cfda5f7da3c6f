-- an array of rows gives a column a field, a map gives key and value
SELECT id, a, b, k, v FROM (VALUES (1, ARRAY[ROW(1, 'x'), ROW(2, 'y')], MAP['m', 5])) AS t(id, rs, m) CROSS JOIN UNNEST(rs) AS u(a, b) CROSS JOIN UNNEST(m) AS w(k, v);
