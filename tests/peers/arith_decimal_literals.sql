-- types of literals and of arithmetic among them
SELECT 1.5, 1.50, 0.908, 1e3, 12345678901, 1.0 / 3, 2 / 3, 2.0 / 3.0, 1.5 + 1, 10 / 4, 10 / 4.0, 5 - 0.5, 1.1 * 1.1, -0.5, 999999999999999999;
