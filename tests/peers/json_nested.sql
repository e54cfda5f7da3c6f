-- arrays of rows, maps of arrays, columns that are left out
CREATE TABLE n (id INT, items ARRAY<ROW<sku STRING, n INT>>, m MAP<STRING, ARRAY<DOUBLE>>, o ROW<p ROW<q BOOLEAN>>, b BYTES, t TIME(0), l TIMESTAMP_LTZ(3), big BIGINT, f FLOAT, s SMALLINT)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/nested.json', 'format' = 'json');
SELECT id, items, items[1].sku, m, m['a'][2], o.p.q, b, t, l, big, f, s FROM n;
