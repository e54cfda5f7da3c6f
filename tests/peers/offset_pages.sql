-- every page moves when a row comes in front
CREATE VIEW f AS SELECT id, 10 - id AS w FROM (VALUES (1), (2), (3), (4), (5), (6), (7), (8)) AS v (id);
SELECT id, w FROM f ORDER BY w LIMIT 3 OFFSET 2;
