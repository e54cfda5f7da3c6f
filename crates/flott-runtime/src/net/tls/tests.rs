use super::certificates::Authority;
use super::*;
use crate::net::{self, Secret};
use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};
use tokio::net::TcpListener;

/// A CA that has signed `node`.
fn authority(name: &str) -> Authority {
    let authority = Authority::new(name);
    authority.sign("node", |_| {});
    authority
}

/// The options of `node`, some of them changed.
fn changed(authority: &Authority, place: &str, name: &str, change: &[(&str, &str)]) -> Options {
    let mut options: Options = authority.options(place, name).into_iter().collect();
    for (key, value) in change {
        let key = format!("security.ssl.{place}.{key}");
        match value.is_empty() {
            true => options.remove(&key),
            false => options.set(key, *value),
        };
    }
    options
}

fn refused(options: &Options) -> String {
    Transport::from_options(options).unwrap_err().to_string()
}

fn transport(authority: &Authority) -> Transport {
    Transport::from_options(&changed(authority, "internal", "node", &[])).unwrap()
}

fn rest(authority: &Authority, change: &[(&str, &str)]) -> (Acceptor, Connector) {
    let options = changed(authority, "rest", "node", change);
    (
        Acceptor::of_rest(&options).unwrap(),
        Connector::of_rest(&options).unwrap(),
    )
}

/// The two ends of a connection on this machine.
async fn ends() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (client.unwrap(), server.unwrap().0)
}

/// What both ends say of a connection on which the server speaks first, as Flott's do: the client's words, and the server's.
async fn meet(connector: &Connector, acceptor: &Acceptor) -> [String; 2] {
    let (client, server) = ends().await;
    let secret = Secret::none();
    let (client, server) = tokio::join!(
        async {
            let mut stream = connector.connect(client, "localhost").await?;
            net::connect(&mut stream, &secret, b"hello").await
        },
        async {
            let mut stream = acceptor.accept(server).await?;
            let hello = net::accept(&mut stream, &secret).await?;
            hello.welcome(&mut stream).await
        },
    );
    [client, server].map(|said| said.err().map_or_else(|| "welcome".to_owned(), |e| e.to_string()))
}

#[tokio::test]
async fn both_ends_prove_themselves_and_bytes_go_both_ways() {
    let authority = authority("ca");
    let transport = transport(&authority);
    assert!(transport.is_tls() && format!("{transport:?}").contains("TLS"));
    let (client, server) = ends().await;
    let long = vec![7; 300_000];
    let (client, server) = tokio::join!(
        async {
            let (mut reader, mut writer) = transport.connect(client).await.unwrap().into_split();
            net::write_message(&mut writer, &long, 1 << 20).await.unwrap();
            writer.shutdown().await.unwrap();
            net::read_message(&mut reader, 10).await.unwrap()
        },
        async {
            let mut stream = transport.accept(server).await.unwrap();
            let read = net::read_message(&mut stream, 1 << 20).await.unwrap();
            assert_eq!(
                net::read_message(&mut stream, 1).await.unwrap(),
                None,
                "the end is told"
            );
            net::write_message(&mut stream, b"taken", 10).await.unwrap();
            read
        },
    );
    assert_eq!(client.unwrap(), b"taken");
    assert!(server.unwrap() == long);
}

#[tokio::test]
async fn who_is_of_another_ca_is_told_so_at_both_ends() {
    // Of one name, so that only the keys differ, and of two.
    for names in [["ca", "ca"], ["ca", "other"]] {
        let [ours, theirs] = names.map(|name| transport(&authority(name)));
        let [client, server] = meet(&theirs.connector, &ours.acceptor).await;
        assert!(
            client.contains("the other side's certificate is not signed by the CA"),
            "{client}"
        );
        assert!(server.contains("the other side trusts another CA"), "{server}");
    }
    // Where only the client's certificate is wrong it hears it behind its own handshake.
    let (ours, theirs) = (authority("ca"), authority("other"));
    let mixed = |cert: &Authority, ca: &Authority| {
        let options = changed(cert, "rest", "node", &[("authentication-enabled", "true")]);
        let ca = changed(ca, "rest", "node", &[]);
        let mut options = options.clone();
        options.set("security.ssl.rest.ca", ca.get("security.ssl.rest.ca").unwrap());
        options
    };
    let acceptor = Acceptor::of_rest(&mixed(&ours, &ours)).unwrap();
    let connector = Connector::of_rest(&mixed(&theirs, &ours)).unwrap();
    let [client, server] = meet(&connector, &acceptor).await;
    assert!(client.contains("the other side trusts another CA"), "{client}");
    assert!(
        server.contains("the other side's certificate is not signed by the CA"),
        "{server}"
    );
}

#[tokio::test]
async fn who_has_no_certificate_is_told_so_at_both_ends() {
    let authority = authority("ca");
    let (acceptor, with) = rest(&authority, &[("authentication-enabled", "true")]);
    let (open, without) = rest(&authority, &[]);
    assert!(acceptor.asks_clients() && !open.asks_clients());
    let [client, server] = meet(&without, &acceptor).await;
    assert!(client.contains("this side presents none"), "{client}");
    assert!(server.contains("presents no certificate"), "{server}");
    for (connector, acceptor) in [(&with, &acceptor), (&without, &open), (&with, &open)] {
        assert_eq!(meet(connector, acceptor).await, ["welcome", "welcome"]);
    }
}

#[tokio::test]
async fn an_expired_certificate_is_told_at_both_ends() {
    let authority = authority("ca");
    authority.sign("old", |params| params.not_after = date_time_ymd(2020, 1, 1));
    // A process would not start with it: it has expired since.
    let options = changed(&authority, "rest", "old", &[]);
    let read = |key: &str| std::fs::read(options.get(key).unwrap()).unwrap();
    let chain = pem_certificates(&read("security.ssl.rest.cert")).unwrap();
    let key = pem_key(&read("security.ssl.rest.key")).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
    let (_, connector) = rest(&authority, &[]);
    let [client, server] = meet(&connector, &Acceptor::with(config, false)).await;
    assert!(
        client.contains("the other side's certificate has expired") && client.contains(" days ago"),
        "{client}"
    );
    assert!(server.contains("this side's certificate has expired"), "{server}");
}

#[tokio::test]
async fn commands_look_at_the_name_unless_they_are_told_not_to() {
    let authority = authority("ca");
    authority.sign("elsewhere", |params| params.subject_alt_names.truncate(0));
    authority.sign("elsewhere", |params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("jm.example".try_into().unwrap())];
    });
    let mut options = changed(&authority, "rest", "elsewhere", &[]);
    let acceptor = Acceptor::of_rest(&options).unwrap();
    let [client, _] = meet(&Connector::of_rest(&options).unwrap(), &acceptor).await;
    assert!(
        client.contains("jm.example") && client.contains("not for localhost"),
        "{client}"
    );
    assert!(client.contains("security.ssl.verify-hostname"), "{client}");
    options.set("security.ssl.verify-hostname", "false");
    assert_eq!(
        meet(&Connector::of_rest(&options).unwrap(), &acceptor).await,
        ["welcome", "welcome"]
    );
    // Between processes nobody looks at it.
    let internal = Transport::from_options(&changed(&authority, "internal", "elsewhere", &[])).unwrap();
    assert_eq!(
        meet(&internal.connector, &internal.acceptor).await,
        ["welcome", "welcome"]
    );
    let (client, _server) = ends().await;
    let odd = internal
        .connector
        .connect(client, "no host")
        .await
        .unwrap_err()
        .to_string();
    assert!(odd.contains("'no host'"), "{odd}");
}

#[tokio::test]
async fn tls_on_one_side_only_is_told_at_both_ends() {
    let ours = transport(&authority("ca"));
    let [client, server] = meet(&ours.connector, &Acceptor::plain()).await;
    assert!(client.contains("does not speak TLS"), "{client}");
    assert!(
        server.contains("the other side speaks TLS and this one does not"),
        "{server}"
    );
    // Each waits for the other to begin.
    let [client, server] = meet(&Connector::plain(), &ours.acceptor).await;
    assert!(client.contains("both sides use TLS or neither does"), "{client}");
    assert!(server.contains("did not begin TLS within 10 s"), "{server}");
    let (mut browser, stream) = ends().await;
    let (refused, ()) = tokio::join!(ours.accept(stream), async {
        browser.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut answer = vec![];
        let _ = browser.read_to_end(&mut answer).await;
    });
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("does not speak TLS"), "{refused}");
    let (gone, stream) = ends().await;
    drop(gone);
    let left = ours.accept(stream).await.unwrap_err().to_string();
    assert!(left.contains("closed the connection before"), "{left}");
}

#[test]
fn options_that_are_missing_or_wrong_are_named_with_the_remedy() {
    let ca = authority("ca");
    let with = |change: &[(&str, &str)]| refused(&changed(&ca, "internal", "node", change));
    let missing = with(&[("cert", "")]);
    assert!(missing.contains("'security.ssl.internal.cert'"), "{missing}");
    assert!(
        missing.contains("because security.ssl.internal.enabled is true"),
        "{missing}"
    );
    let java = with(&[("cert", ""), ("keystore", "/x/internal.jks")]);
    assert!(java.contains("security.ssl.internal.keystore names one"), "{java}");
    assert!(
        java.contains("openssl pkcs12") && java.contains("keytool -importkeystore"),
        "{java}"
    );
    let java = with(&[("ca", ""), ("truststore", "/x/ca.jks")]);
    assert!(
        java.contains("security.ssl.internal.truststore names one") && java.contains("-nokeys"),
        "{java}"
    );
    let fingerprint = with(&[("cert.fingerprint", "00:11")]);
    assert!(
        fingerprint.contains("security.ssl.internal.cert.fingerprint"),
        "{fingerprint}"
    );
    let neither = with(&[("enabled", "maybe")]);
    assert!(neither.contains("true or false"), "{neither}");

    // What stands for both places is used, and nothing is read where TLS is off.
    let both: Options = ca
        .options("internal", "node")
        .into_iter()
        .map(|(key, value)| match key.ends_with("enabled") {
            true => (key, value),
            false => (key.replace(".internal", ""), value),
        })
        .collect();
    assert!(Transport::from_options(&both).unwrap().is_tls());
    let off = changed(
        &ca,
        "internal",
        "node",
        &[("enabled", "false"), ("cert", "/no/such/file")],
    );
    assert!(!Transport::from_options(&off).unwrap().is_tls());
}

#[test]
fn files_that_cannot_be_used_are_named_with_the_remedy() {
    let (ca, other) = (authority("ca"), authority("other"));
    let with = |change: &[(&str, &str)]| refused(&changed(&ca, "internal", "node", change));
    let text = ca.write("text.pem", b"nothing here");
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----";
    let encrypted = ca.write("encrypted.key", encrypted.as_bytes());
    let damaged = ca.write(
        "damaged.pem",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    ca.sign("second", |_| {});
    let path = |authority: &Authority, name: &str, key: &str| {
        let options = changed(authority, "internal", name, &[]);
        options.get(&format!("security.ssl.internal.{key}")).unwrap().to_owned()
    };
    for (option, file, words) in [
        ("cert", "/no/such/file", "a file that can be read"),
        ("ca", "/no/such/file", "a file that can be read"),
        ("cert", &text, "BEGIN CERTIFICATE"),
        ("ca", &text, "-nokeys"),
        ("key", &text, "no readable private key"),
        ("key", &encrypted, "openssl pkey"),
        ("cert", &damaged, "a certificate that can be read"),
        ("ca", &damaged, "certificates that can be used"),
        ("key", &path(&ca, "second", "key"), "does not fit"),
        ("ca", &path(&other, "node", "ca"), "not signed by the CA"),
    ] {
        let said = with(&[(option, file)]);
        // The CA decides over the certificate, which is what is named then.
        let named = if words.contains("not signed") { "cert" } else { option };
        assert!(said.contains(&format!("'security.ssl.internal.{named}'")), "{said}");
        assert!(
            said.contains(words) && (named != option || said.contains(file)),
            "{said}"
        );
    }
}

#[test]
fn certificates_that_others_would_refuse_are_refused_at_the_start() {
    let ca = authority("ca");
    ca.sign("old", |params| params.not_after = date_time_ymd(2020, 1, 1));
    ca.sign("new", |params| params.not_before = date_time_ymd(4000, 1, 1));
    ca.sign("server", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]
    });
    for (name, words) in [
        ("old", "has expired"),
        ("new", "is valid only in"),
        ("server", "clientAuth"),
    ] {
        let said = refused(&changed(&ca, "internal", name, &[]));
        assert!(said.contains(&format!("{name}.pem")) && said.contains(words), "{said}");
    }
    // REST's server says nothing about itself as a client, and what signs it is its clients' matter.
    let alone = changed(&ca, "rest", "server", &[("ca", "")]);
    assert!(Acceptor::of_rest(&alone).unwrap().is_tls());
    for name in ["old", "new"] {
        let said = Acceptor::of_rest(&changed(&ca, "rest", name, &[]))
            .unwrap_err()
            .to_string();
        assert!(
            said.contains("'security.ssl.rest.cert'") && said.contains(name),
            "{said}"
        );
    }
}
