//! SASL and TLS by Kafka's Java property names, against the secure listeners of a real Kafka.
//!
//! `FLOTT_KAFKA_SECURE` names the SASL_PLAINTEXT listener; SSL and SASL_SSL are on the next two ports, as `bench/kafka-up.sh`
//! starts them with `KAFKA_SECURE=1`. `FLOTT_KAFKA_TLS` is the folder of its stores.

use flott_connectors::kafka::client::{KafkaClient, KafkaError, KafkaProperties};

struct Secure {
    host: String,
    port: u16,
    tls: String,
    user: String,
    password: String,
}

fn secure() -> Secure {
    let address = std::env::var("FLOTT_KAFKA_SECURE").expect("FLOTT_KAFKA_SECURE names the SASL_PLAINTEXT listener");
    let (host, port) = address.rsplit_once(':').expect("host:port");
    let or = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    Secure {
        host: host.to_owned(),
        port: port.parse().expect("a port"),
        tls: std::env::var("FLOTT_KAFKA_TLS").expect("FLOTT_KAFKA_TLS is the folder of the stores"),
        user: or("KAFKA_USER", "alice"),
        password: or("KAFKA_PASSWORD", "alice-secret"),
    }
}

impl Secure {
    fn jaas(&self, module: &str, password: &str) -> String {
        format!(
            "org.apache.kafka.common.security.{module} required username=\"{}\" password=\"{password}\";",
            self.user
        )
    }

    async fn topics(&self, offset: u16, entries: &[(&str, &str)]) -> Result<usize, KafkaError> {
        let mut p = KafkaProperties::new(entries.iter().copied());
        p.set("bootstrap.servers", format!("{}:{}", self.host, self.port + offset));
        p.set("default.api.timeout.ms", "5000");
        Ok(KafkaClient::connect(&p).await?.all_topics().await?.len())
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.tls)
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real broker with SASL and TLS: .ci/run starts it"]
async fn sasl_mechanisms_let_in_who_knows_the_password() {
    let secure = secure();
    for (mechanism, module) in [
        ("PLAIN", "plain.PlainLoginModule"),
        ("SCRAM-SHA-256", "scram.ScramLoginModule"),
        ("SCRAM-SHA-512", "scram.ScramLoginModule"),
    ] {
        let entries = |jaas| {
            [
                ("security.protocol", "SASL_PLAINTEXT"),
                ("sasl.mechanism", mechanism),
                ("sasl.jaas.config", jaas),
            ]
        };
        let jaas = secure.jaas(module, &secure.password);
        secure.topics(0, &entries(&jaas)).await.unwrap();
        let jaas = secure.jaas(module, "not it");
        let error = secure.topics(0, &entries(&jaas)).await.unwrap_err();
        assert!(matches!(error, KafkaError::Authentication { .. }), "{error}");
        assert!(
            error.to_string().contains(mechanism) && !error.to_string().contains("not it"),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real broker with SASL and TLS: .ci/run starts it"]
async fn tls_trusts_what_the_stores_hold() {
    let secure = secure();
    let (ca, p12, other) = (
        secure.path("ca.pem"),
        secure.path("truststore.p12"),
        secure.path("other-ca.pem"),
    );
    let ssl = ("security.protocol", "SSL");
    let pem = [ssl, ("ssl.truststore.type", "PEM"), ("ssl.truststore.location", &*ca)];
    secure.topics(1, &pem).await.unwrap();
    let inline = std::fs::read_to_string(&ca).unwrap();
    secure
        .topics(
            1,
            &[
                ssl,
                ("ssl.truststore.type", "PEM"),
                ("ssl.truststore.certificates", &inline),
            ],
        )
        .await
        .unwrap();
    let pkcs12 = [
        ssl,
        ("ssl.truststore.type", "PKCS12"),
        ("ssl.truststore.location", &*p12),
        ("ssl.truststore.password", "changeit"),
    ];
    secure.topics(1, &pkcs12).await.unwrap();

    let wrong = [
        ssl,
        ("ssl.truststore.type", "PEM"),
        ("ssl.truststore.location", &*other),
    ];
    let error = secure.topics(1, &wrong).await.unwrap_err();
    assert!(matches!(error, KafkaError::Tls { .. }), "{error}");
    let error = secure
        .topics(
            1,
            &[pkcs12[0], pkcs12[1], pkcs12[2], ("ssl.truststore.password", "nope")],
        )
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("ssl.truststore.location") && !error.to_string().contains("nope"),
        "{error}"
    );
    let jks = secure.path("truststore.jks");
    let error = secure
        .topics(1, &[ssl, ("ssl.truststore.location", &*jks)])
        .await
        .unwrap_err();
    assert!(error.to_string().contains("keytool"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real broker with SASL and TLS: .ci/run starts it"]
async fn a_client_certificate_is_shown_and_both_work_together() {
    let secure = secure();
    let (ca, p12) = (secure.path("ca.pem"), secure.path("client.p12"));
    let trust = [("ssl.truststore.type", "PEM"), ("ssl.truststore.location", &*ca)];
    let keys = [
        ("security.protocol", "SSL"),
        ("ssl.keystore.type", "PKCS12"),
        ("ssl.keystore.location", &*p12),
        ("ssl.keystore.password", "changeit"),
    ];
    secure.topics(1, &[&trust[..], &keys].concat()).await.unwrap();
    let read = |name| std::fs::read_to_string(secure.path(name)).unwrap();
    let (key, chain) = (read("client-key.pem"), read("client.pem"));
    let keys = [
        ("security.protocol", "SSL"),
        ("ssl.keystore.type", "PEM"),
        ("ssl.keystore.key", &*key),
        ("ssl.keystore.certificate.chain", &*chain),
    ];
    secure.topics(1, &[&trust[..], &keys].concat()).await.unwrap();
    let jaas = secure.jaas("scram.ScramLoginModule", &secure.password);
    let sasl = [
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("sasl.jaas.config", &*jaas),
    ];
    secure.topics(2, &[&trust[..], &sasl].concat()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real broker with SASL and TLS: .ci/run starts it"]
async fn the_wrong_protocol_is_told_and_does_not_hang() {
    let secure = secure();
    let plain_to_tls = secure.topics(1, &[]).await.unwrap_err().to_string();
    assert!(
        plain_to_tls.contains("security.protocol") || plain_to_tls.contains("TLS"),
        "{plain_to_tls}"
    );
}
