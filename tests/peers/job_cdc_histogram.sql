-- how many accounts are in how many regions' sizes: an aggregate of an aggregate
CREATE TABLE accounts (id BIGINT, owner STRING, region STRING, balance DECIMAL(12, 2), tier STRING, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'filesystem', 'path' = '${DATA}/job_accounts.json', 'format' = 'debezium-json');

SELECT n, COUNT(*) AS regions, SUM(total) AS total FROM (SELECT region, COUNT(*) AS n, SUM(balance) AS total FROM accounts GROUP BY region) GROUP BY n HAVING COUNT(*) >= 1;
