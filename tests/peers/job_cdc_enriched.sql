-- a changing table with labels of a CASE, and those that matter
CREATE TABLE accounts (id BIGINT, owner STRING, region STRING, balance DECIMAL(12, 2), tier STRING, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'filesystem', 'path' = '${DATA}/job_accounts.json', 'format' = 'debezium-json');

SELECT id, INITCAP(owner) AS owner, COALESCE(tier, 'none') AS tier, CASE WHEN balance < 0 THEN 'overdrawn' WHEN balance >= 500 THEN 'rich' ELSE 'fine' END AS class, CONCAT_WS('-', region, LPAD(CAST(id AS STRING), 3, '0')) AS code FROM accounts WHERE balance <> 0 OR tier IS NULL;
