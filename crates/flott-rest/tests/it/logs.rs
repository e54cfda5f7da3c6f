//! The JobManager's logs, and what is none.

use crate::support::Server;

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_listed_and_read_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("log");
    std::fs::create_dir(&logs).unwrap();
    std::fs::write(dir.path().join("secret"), "hush").unwrap();
    std::fs::write(logs.join("jm.log"), "a line\n").unwrap();
    std::fs::write(logs.join("jm.out"), "printed\n").unwrap();
    std::fs::write(logs.join("jm.log.1"), "older\n").unwrap();
    let path = logs.join("jm.log").display().to_string();
    let server = Server::start(&[("web.log.path", path.as_str())]).await;
    let list = server.get("/jobmanager/logs").await;
    let names: Vec<&str> = list["logs"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|log| log["name"].as_str())
        .collect();
    assert_eq!(names, ["jm.log", "jm.log.1", "jm.out"]);
    assert_eq!(list["logs"][0]["size"], 7);
    assert!(list["logs"][0]["mtime"].as_u64().unwrap() > 0, "{list}");
    for (path, text) in [
        ("/jobmanager/log", "a line\n"),
        ("/v1/jobmanager/stdout", "printed\n"),
        ("/jobmanager/logs/jm.log.1", "older\n"),
    ] {
        assert_eq!(server.text(path).await, text, "{path}");
    }
    for (name, status) in [
        ("..%2Fsecret", 400),
        ("%2Fetc%2Fpasswd", 400),
        ("..", 400),
        (".hidden", 400),
        ("secret", 404),
    ] {
        let (found, answer) = server.ask("GET", &format!("/jobmanager/logs/{name}"), None).await;
        assert_eq!(found, status, "{name}: {answer}");
        assert!(!answer.to_string().contains("hush"), "{answer}");
    }
}
