-- totals per region of a table that changes
CREATE TABLE accounts (id BIGINT, owner STRING, region STRING, balance DECIMAL(12, 2), tier STRING, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'filesystem', 'path' = '${DATA}/job_accounts.json', 'format' = 'debezium-json');

SELECT region, COUNT(*) AS accounts, SUM(balance) AS total, AVG(balance) AS average, MAX(balance) AS top, COUNT(DISTINCT tier) AS tiers, LISTAGG(owner) AS owners FROM accounts GROUP BY region;
