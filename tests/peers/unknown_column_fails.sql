SELECT nme FROM (VALUES (1)) AS t(name);
