-- VALUES alone
VALUES (1, 'x', 1.5), (-20, 'yy', 2.25);
