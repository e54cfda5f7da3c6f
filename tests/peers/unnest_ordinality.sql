SELECT id, w, n FROM (VALUES (1, ARRAY['x', 'y']), (2, ARRAY['z', 'z'])) AS t(id, a) CROSS JOIN UNNEST(a) WITH ORDINALITY AS u(w, n);
