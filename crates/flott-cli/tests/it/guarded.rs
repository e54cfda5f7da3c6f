//! A cluster that may leave its machine: mutual TLS between its processes, and a token or certificates for REST.

use crate::certificates::Authority;
use crate::cluster::{Processes, feed_rest, settle};
use crate::support::{Ended, flott, wait_for};
use crate::trial::{From, Trial};
use std::io::{Read, Write};
use std::net::TcpStream;

const TOKEN: &str = "tell-nobody-0815";

/// A CA that has signed `node`.
fn authority(name: &str) -> Authority {
    let authority = Authority::new(name);
    authority.sign("node", |_| {});
    authority
}

/// The options of `node`, `key=value`.
fn options(authority: &Authority, place: &str) -> Vec<String> {
    let options = authority.options(place, "node").into_iter();
    options.map(|(key, value)| format!("{key}={value}")).collect()
}

/// `flott list` of a JobManager with options.
fn list(cluster: &Processes, options: &[String]) -> Ended {
    // Its certificate is for this name, too.
    let place = cluster.rest.replace("127.0.0.1", "localhost");
    let defines = options.iter().flat_map(|option| ["-D", option]);
    let args: Vec<&str> = ["list", "-m", &place].into_iter().chain(defines).collect();
    flott(&args)
}

/// Head and body of what is answered to a request with this header.
fn ask(cluster: &Processes, path: &str, header: &str) -> String {
    let mut stream = TcpStream::connect(&cluster.rest).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Waits until the JobManager has written this.
fn told(cluster: &Processes, words: &str) {
    let log = || cluster.job_manager.as_ref().unwrap().err();
    assert!(wait_for(|| log().contains(words)), "'{words}' is missing in {}", log());
}

#[test]
fn a_cluster_under_mutual_tls_runs_a_job_and_lets_nobody_else_in() {
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let tls = options(&ours, "internal");
    let mut cluster = Processes::manager(&tls, "");
    (0..2).for_each(|_| cluster.add_task_manager(""));
    cluster.await_slots(2);

    let stranger = cluster.refused_task_manager(&options(&theirs, "internal"));
    assert!(
        stranger.contains("is not signed by the CA that this side trusts"),
        "{stranger}"
    );
    told(&cluster, "the other side trusts another CA");
    let plain = cluster.refused_task_manager(&[]);
    assert!(plain.contains("both sides use TLS or neither does"), "{plain}");
    told(&cluster, "both sides use TLS or neither does");

    let trial = Trial::to_topic();
    cluster.submit(&trial, "2", From::Nothing);
    trial.feed(0).join().unwrap();
    // Exchanges and registrations of a new process are under TLS as well.
    cluster.task_managers.pop().unwrap().kill();
    cluster.add_task_manager("");
    feed_rest(&trial);
    assert_eq!(settle(&trial), Ok(()));
}

#[test]
fn rest_wants_the_token_and_tells_it_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let of_file = format!("security.rest.token-file={}", file.display());
    let option = format!("security.rest.token={TOKEN}");
    // Also where others reach it.
    let bind = "rest.bind-address=0.0.0.0".to_owned();
    let cluster = Processes::manager(&[option.clone(), bind], "");
    told(&cluster, "without TLS");

    for header in [
        "",
        "Authorization: Bearer tell-nobody\r\n",
        "Authorization: Basic dGVsbDpub2JvZHk=\r\n",
    ] {
        for path in ["/overview", "/v1/jobs", "/nothing/here"] {
            let answer = ask(&cluster, path, header);
            assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
            assert!(answer.to_lowercase().contains("www-authenticate: bearer"), "{answer}");
            assert!(
                answer.contains("{\"errors\":[\"this JobManager wants a token"),
                "{answer}"
            );
        }
    }
    let shown = ask(
        &cluster,
        "/jobmanager/config",
        &format!("Authorization: Bearer {TOKEN}\r\n"),
    );
    assert!(
        shown.starts_with("HTTP/1.1 200 ") && shown.contains("security.rest.token"),
        "{shown}"
    );
    assert!(!shown.contains(TOKEN), "{shown}");

    for right in [&option, &of_file] {
        list(&cluster, std::slice::from_ref(right)).expect(0);
    }
    for wrong in [vec![], vec!["security.rest.token=another".to_owned()]] {
        let refused = list(&cluster, &wrong).expect(1);
        assert!(
            refused.err.contains("refuses: this JobManager wants a token"),
            "{}",
            refused.err
        );
    }
    // What a job keeps of the options of its submission tells it as little.
    let sql = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1');
        CREATE TABLE nothing (n BIGINT) WITH ('connector' = 'blackhole');
        INSERT INTO nothing SELECT n FROM numbers;";
    let submitted = flott(&["run", "-d", "-m", &cluster.rest, "-D", &option, "-e", sql]).expect(0);
    let id = submitted.out.split_whitespace().last().unwrap().to_owned();
    let config = ask(
        &cluster,
        &format!("/jobs/{id}/config"),
        &format!("Authorization: Bearer {TOKEN}\r\n"),
    );
    assert!(
        config.starts_with("HTTP/1.1 200 ") && !config.contains("security."),
        "{config}"
    );
    let log = cluster.job_manager.as_ref().unwrap().err();
    assert!(!log.contains(TOKEN), "{log}");
}

#[test]
fn rest_asks_for_certificates_under_tls() {
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let authenticated = "security.ssl.rest.authentication-enabled=true".to_owned();
    let mut tls = options(&ours, "rest");
    let without = tls.clone();
    tls.push(authenticated.clone());
    let cluster = Processes::manager(&[&tls[..], &["rest.bind-address=0.0.0.0".to_owned()]].concat(), "");
    list(&cluster, &tls).expect(0);

    let nobody = list(&cluster, &without).expect(1).err;
    assert!(nobody.contains("no TLS with the JobManager at localhost"), "{nobody}");
    assert!(nobody.contains("this side presents none"), "{nobody}");
    told(&cluster, "presents no certificate");

    let mut stranger = options(&theirs, "rest");
    stranger.push(authenticated);
    let refused = list(&cluster, &stranger).expect(1).err;
    assert!(
        refused.contains("is not signed by the CA that this side trusts"),
        "{refused}"
    );
    told(&cluster, "the other side trusts another CA");

    let plain = list(&cluster, &[]).expect(1).err;
    assert!(plain.contains("set security.ssl.rest.enabled"), "{plain}");
    told(&cluster, "the other side does not speak TLS");
    let url = flott(&["list", "-m", &format!("https://{}", cluster.rest)])
        .expect(1)
        .err;
    assert!(url.contains("security.ssl.rest.ca"), "{url}");
}

#[test]
fn what_others_reach_asks_for_something() {
    let open = flott(&["jobmanager", "-D", "rest.bind-address=0.0.0.0", "-D", "rest.port=0"]).expect(1);
    for remedy in [
        "security.rest.token-file",
        "security.ssl.rest.authentication-enabled",
        "127.0.0.1",
    ] {
        assert!(open.err.contains(remedy), "{}", open.err);
    }
    let ca = authority("ca");
    let encrypted = options(&ca, "rest");
    let defines = encrypted.iter().flat_map(|option| ["-D", option]);
    let args = ["jobmanager", "-D", "rest.bind-address=0.0.0.0", "-D", "rest.port=0"];
    let open = flott(&args.into_iter().chain(defines).collect::<Vec<_>>()).expect(1);
    assert!(
        open.err.contains("security.rest.token-file"),
        "TLS alone lets everybody in: {}",
        open.err
    );

    let rpc = [
        "jobmanager",
        "-D",
        "jobmanager.bind-host=0.0.0.0",
        "-D",
        "rest.port=0",
        "-D",
        "jobmanager.rpc.port=0",
    ];
    let open = flott(&rpc).expect(1);
    for remedy in ["security.ssl.internal.enabled", "security.internal.shared-secret"] {
        assert!(open.err.contains(remedy), "{}", open.err);
    }
    let java = [
        "-D",
        "security.ssl.internal.enabled=true",
        "-D",
        "security.ssl.internal.keystore=/x/store.jks",
    ];
    let java = flott(&["taskmanager"].into_iter().chain(java).collect::<Vec<_>>()).expect(1);
    assert!(
        java.err.contains("security.ssl.internal.ca") && java.err.contains("openssl pkcs12"),
        "{}",
        java.err
    );
    // Under TLS it may listen anywhere without a secret.
    let tls = options(&ca, "internal");
    let open = [&tls[..], &["jobmanager.bind-host=0.0.0.0".to_owned()]].concat();
    let _cluster = Processes::manager(&open, "");
}
