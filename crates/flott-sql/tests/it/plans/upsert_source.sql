-- upserts read as a whole changelog, once for each need of the readers, from one scan
CREATE TABLE users (id BIGINT, city STRING, age INT, seen TIMESTAMP(3), WATERMARK FOR seen AS seen, PRIMARY KEY (id) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'users', 'properties.bootstrap.servers' = '${BOOTSTRAP}', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE cities (city STRING, users BIGINT, PRIMARY KEY (city) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'cities', 'properties.bootstrap.servers' = '${BOOTSTRAP}', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE copies (id BIGINT, city STRING, PRIMARY KEY (id) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'copies', 'properties.bootstrap.servers' = '${BOOTSTRAP}', 'key.format' = 'json', 'value.format' = 'json');
EXECUTE STATEMENT SET BEGIN
INSERT INTO cities SELECT city, COUNT(*) FROM users WHERE age > 17 GROUP BY city;
INSERT INTO copies SELECT id, city FROM users;
END;
