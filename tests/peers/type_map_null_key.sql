-- maps with a NULL key: read, counted, taken apart, compared
SELECT id, MAP[k, id, 'z', 9] AS m, MAP[k, id]['a'], MAP[k, id][k], CARDINALITY(MAP[k, id, 'z', 9]), MAP_KEYS(MAP[k, id]), MAP[k, id] = MAP['a', 1] FROM (VALUES (1, 'a'), (2, CAST(NULL AS STRING))) AS t(id, k);
