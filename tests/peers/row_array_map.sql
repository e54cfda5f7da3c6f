-- nested fields, elements (one-based; outside: NULL), lookups, and how they print
SELECT r, r.a AS ra, r.b AS rb, a, a[1], a[3], CARDINALITY(a), m, m['x'], m['none'], CARDINALITY(m), ROW(1, 'z', TRUE), ARRAY[1.5, 2], MAP['k', ARRAY[1, 2]], a IS NULL
FROM (VALUES (CAST(ROW(1, 'one') AS ROW<a INT, b STRING>), ARRAY['p', 'q'], MAP['x', 1, 'y', 2])) AS t(r, a, m);
