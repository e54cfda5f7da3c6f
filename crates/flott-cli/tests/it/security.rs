//! A job that is not let in: by a real broker with SASL and TLS, at the addresses that `bench/kafka-up.sh` documents.

use crate::support::flott;

/// An address, properties of the client, and what the error must say.
type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, &'a [&'a str]);

#[test]
#[ignore = "needs a real broker with SASL and TLS: .ci/run starts it"]
fn wrong_credentials_and_missing_trust_end_a_job_without_telling_secrets() {
    let sasl = std::env::var("FLOTT_KAFKA_SECURE").expect("FLOTT_KAFKA_SECURE names the SASL_PLAINTEXT listener");
    let (host, port) = sasl.rsplit_once(':').expect("host:port");
    let tls = format!("{host}:{}", port.parse::<u16>().expect("a port") + 1);
    let stores = std::env::var("FLOTT_KAFKA_TLS").expect("FLOTT_KAFKA_TLS is the folder of the stores");
    let login = |module: &str| {
        format!("org.apache.kafka.common.security.{module} required username=\"alice\" password=\"not-this-one\";")
    };
    let (plain, scram) = (login("plain.PlainLoginModule"), login("scram.ScramLoginModule"));
    let jks = format!("{stores}/truststore.jks");
    let cases: [Case<'_>; 4] = [
        (
            &sasl,
            vec![
                ("security.protocol", "SASL_PLAINTEXT"),
                ("sasl.mechanism", "PLAIN"),
                ("sasl.jaas.config", &plain),
            ],
            &["refused PLAIN authentication", "'sasl.jaas.config'"],
        ),
        (
            &sasl,
            vec![
                ("security.protocol", "SASL_PLAINTEXT"),
                ("sasl.mechanism", "SCRAM-SHA-512"),
                ("sasl.jaas.config", &scram),
            ],
            &["refused SCRAM-SHA-512 authentication", "'sasl.jaas.config'"],
        ),
        (
            &tls,
            vec![("security.protocol", "SSL")],
            &["TLS with kafka broker", "ssl.truststore"],
        ),
        (
            &tls,
            vec![
                ("security.protocol", "SSL"),
                ("ssl.truststore.location", &jks),
                ("ssl.truststore.password", "not-this-one"),
            ],
            &["JKS", "keytool"],
        ),
    ];
    for (address, properties, parts) in cases {
        let options: String = properties
            .iter()
            .map(|(key, value)| format!(", 'properties.{key}' = '{value}'"))
            .collect();
        let sql = format!(
            "CREATE TABLE t (line STRING) WITH ('connector' = 'kafka', 'topic' = 'x', 'format' = 'raw',
               'properties.bootstrap.servers' = '{address}', 'scan.startup.mode' = 'earliest-offset'{options});
             CREATE TABLE p (line STRING) WITH ('connector' = 'print');
             INSERT INTO p SELECT * FROM t;"
        );
        let ended = flott(&["run", "-e", &sql]).expect(1);
        for part in parts {
            assert!(ended.err.contains(part), "'{part}' is missing: {}", ended.err);
        }
        assert!(!(ended.err + &ended.out).contains("not-this-one"), "a secret is told");
    }
}
