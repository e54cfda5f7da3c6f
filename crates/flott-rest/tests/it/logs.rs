//! Logs of the JobManager and of a TaskManager, and what is none.

use crate::openapi::Description;
use crate::support::Server;

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_listed_and_read_and_nothing_else_is() {
    for (process, option) in [
        ("/jobmanager", "web.log.path"),
        ("/taskmanagers/tm-1", "taskmanager.log.path"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("log");
        std::fs::create_dir(&logs).unwrap();
        std::fs::write(dir.path().join("secret"), "hush").unwrap();
        std::fs::write(logs.join("jm.log"), "a line\n").unwrap();
        std::fs::write(logs.join("jm.out"), "printed\n").unwrap();
        let many = "a line of an older file\n".repeat(30_000);
        std::fs::write(logs.join("jm.log.1"), &many).unwrap();
        let path = logs.join("jm.log").display().to_string();
        let server = Server::start(&[(option, path.as_str())]).await;
        let list = server.get(&format!("{process}/logs")).await;
        let description = Description::of(&server).await;
        let undescribed = description.differences("GET", &format!("{process}/logs"), 200, &list);
        assert!(undescribed.is_empty(), "{undescribed:?}");
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
            ("/log", "a line\n"),
            ("/stdout", "printed\n"),
            ("/logs/jm.log.1", many.as_str()),
        ] {
            let path = format!("/v1{process}{path}");
            assert!(server.text(&path).await == text, "{path}");
        }
        for (name, status) in [
            ("..%2Fsecret", 400),
            ("%2Fetc%2Fpasswd", 400),
            ("..", 400),
            (".hidden", 400),
            ("secret", 404),
        ] {
            let path = format!("{process}/logs/{name}");
            let (found, answer) = server.ask("GET", &path, None).await;
            assert_eq!(found, status, "{path}: {answer}");
            assert!(!answer.to_string().contains("hush"), "{answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_are_told_as_described() {
    let server = Server::start(&[]).await;
    let description = Description::of(&server).await;
    for path in ["/jobmanager/thread-dump", "/taskmanagers/tm-1/thread-dump"] {
        let answer = server.get(path).await;
        let undescribed = description.differences("GET", path, 200, &answer);
        assert!(undescribed.is_empty(), "{undescribed:?}");
        let this = format!(" Id={} ", std::process::id());
        assert!(answer.to_string().contains(&this), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_task_manager_is_not_waited_for_without_end() {
    let server = Server::start(&[("web.timeout", "20 ms")]).await;
    for path in ["logs", "log", "logs/tm.log", "thread-dump"] {
        let path = format!("/taskmanagers/tm-silent/{path}");
        let (status, answer) = server.ask("GET", &path, None).await;
        assert_eq!(status, 504, "{answer}");
        let told = answer["errors"][0].as_str().unwrap();
        assert!(told.contains("tm-silent") && told.contains("web.timeout"), "{told}");
    }
}
