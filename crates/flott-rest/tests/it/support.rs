//! A server on a loopback port, jobs for it, and a client that writes requests byte by byte.

use async_trait::async_trait;
use flott_cluster::dispatcher::Dispatcher;
use flott_cluster::inquiry::{self, Answer, InquiryError, Logs, Question};
use flott_cluster::protocol::{AttemptId, Deployment, Order, Peer};
use flott_cluster::resources::{
    Allocation, GatewayListener, HeldSlots, Slots, TaskManagerGateway, TaskManagerInfo, TaskManagerRef, WithinProcess,
};
use flott_cluster::taskmanager::TaskManager;
use flott_cluster::{JobHandle, Restore, Submission};
use flott_core::clock::SystemClock;
use flott_core::{JobId, Options};
use flott_plan::Plan;
use flott_rest::{Role, ScriptPlanner, WebSubmission};
use flott_runtime::Registry;
use flott_sql::script::{Outcome, Script, Session};
use futures::FutureExt;
use futures::future::{BoxFuture, pending, ready};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Longest wait for anything; only guards against hanging.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Rows that nobody looks at, for as long as the job runs.
pub const ENDLESS: &str = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '2000');
    CREATE TABLE nothing (n BIGINT) WITH ('connector' = 'blackhole');
    INSERT INTO nothing SELECT n FROM numbers WHERE n > 0;";

/// Slots of this process, shown as those of one TaskManager with logs of its own; another one never answers, and a third is gone.
struct Shown(WithinProcess, Logs);

/// The way to one of these.
enum Asked {
    Answers(Logs),
    IsSilent,
    IsGone,
}

impl TaskManagerGateway for Asked {
    fn deploy(&self, _: Deployment, _: GatewayListener) {}

    fn order(&self, _: AttemptId, _: Order) {}

    fn ask(&self, question: Question) -> BoxFuture<'static, Result<Answer, InquiryError>> {
        match self {
            Self::Answers(logs) => ready(inquiry::answer(logs, &question)).boxed(),
            Self::IsSilent => pending().boxed(),
            Self::IsGone => ready(Err(InquiryError::Gone { why: "killed".into() })).boxed(),
        }
    }
}

#[async_trait]
impl Slots for Shown {
    fn allocate(
        &self,
        job: JobId,
        needed: &BTreeMap<String, usize>,
        had: &mut Option<HeldSlots>,
    ) -> Option<Allocation> {
        self.0.allocate(job, needed, had)
    }

    fn task_manager(&self, id: &str) -> Option<TaskManagerRef> {
        let asked = match id {
            "tm-1" => Asked::Answers(self.1.clone()),
            "tm-silent" => Asked::IsSilent,
            "tm-gone" => Asked::IsGone,
            _ => return None,
        };
        let peer = Peer {
            id: id.to_owned(),
            data_address: String::new(),
        };
        let gateway = Arc::new(asked);
        Some(TaskManagerRef { peer, gateway })
    }

    fn task_managers(&self) -> Vec<TaskManagerInfo> {
        vec![TaskManagerInfo {
            id: "tm-1".into(),
            address: "127.0.0.1:6122".into(),
            data_port: 6121,
            slots: 4,
            free_slots: 1,
            allocated: vec![JobId(1); 3],
            last_heartbeat_ms: 1_700_000_000_000,
            cpu_cores: 2,
            memory_bytes: 8 << 30,
            used_bytes: 1 << 30,
        }]
    }
}

/// Plans scripts as the command does.
struct Planner(Arc<Registry>);

impl ScriptPlanner for Planner {
    fn plan(&self, text: &str, variables: &BTreeMap<String, String>, options: Options) -> Result<Plan, String> {
        let script = Script::parse(text, &|name| variables.get(name).cloned()).map_err(|e| e.to_string())?;
        let mut session = Session::new(self.0.clone(), options);
        let outcomes = session.execute_all(&script).map_err(|e| e.to_string())?;
        let job = outcomes.into_iter().find_map(|outcome| match outcome {
            Outcome::Job(job) => Some(job.plan),
            _ => None,
        });
        job.ok_or_else(|| "there is no job".to_owned())
    }
}

/// A server.
pub struct Server {
    address: SocketAddr,
    /// What it serves.
    pub dispatcher: Dispatcher,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Starts one whose JobManager has these options.
    pub async fn start(options: &[(&str, &str)]) -> Self {
        let options: Options = options.iter().copied().collect();
        let registry = Arc::new(flott::registry());
        let manager = TaskManager::new(registry.clone(), Arc::new(SystemClock), None);
        let logs = Logs::of_task_manager(&options);
        let slots = Arc::new(Shown(WithinProcess::new(manager), logs));
        let dispatcher = Dispatcher::new(options, registry, Arc::new(SystemClock), slots, None).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let access = flott_rest::Access::from_options(dispatcher.options()).unwrap();
        let web = WebSubmission::from_options(dispatcher.options(), Arc::new(Planner(dispatcher.registry().clone())));
        let web = web.unwrap();
        let role = watch::channel(Role::Leading(dispatcher.clone())).1;
        let task = tokio::spawn(async move {
            flott_rest::serve(listener, access, web, role, std::future::pending())
                .await
                .unwrap();
        });
        Self {
            address,
            dispatcher,
            task,
        }
    }

    /// Submits a script's only job without the server, and waits until it runs.
    pub async fn run(&self, sql: &str, options: &[(&str, &str)]) -> JobHandle {
        let submission = Submission {
            plan: plan(sql, options),
            restore: Restore::Fresh,
            allow_non_restored_state: false,
        };
        let job = self.dispatcher.submit(submission).await.unwrap();
        tokio::time::timeout(DEADLINE, job.running())
            .await
            .expect("the job does not start");
        job
    }

    /// Sends a request, and gives the status and the JSON of the answer.
    pub async fn ask(&self, method: &str, path: &str, body: Option<&str>) -> (u16, Value) {
        self.ask_with(method, path, "application/json", body.map(str::as_bytes))
            .await
    }

    /// The same with a type of the body.
    pub async fn ask_with(&self, method: &str, path: &str, content_type: &str, body: Option<&[u8]>) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut request = head(method, path, content_type, "close", body).into_bytes();
        request.extend(body.unwrap_or_default());
        // The answer to a body that is too large may come before all of it is sent.
        let _ = stream.write_all(&request).await;
        let mut bytes = vec![];
        let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut bytes))
            .await
            .expect("no answer");
        answer(&bytes)
    }

    /// GET of something that is there.
    pub async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask("GET", path, None).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// GET of something that is there and no JSON.
    pub async fn text(&self, path: &str) -> String {
        let mut stream = self.connect().await;
        let request = head("GET", path, "application/json", "close", None);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        assert!(head.to_lowercase().contains("content-type: text/plain"), "{head}");
        body.to_owned()
    }

    /// A connection for several requests.
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Asks until `done` says so, and gives the last answer.
    pub async fn until(&self, path: &str, done: impl Fn(&Value) -> bool) -> Value {
        let asking = async {
            loop {
                let answer = self.get(path).await;
                if done(&answer) {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let asked = tokio::time::timeout(DEADLINE, asking).await;
        asked.unwrap_or_else(|_| panic!("{path} never gave what was waited for"))
    }

    /// Waits for the end of a triggered operation, which is asked for at `path`; gives its result.
    pub async fn operation(&self, path: &str, trigger: &Value) -> Value {
        let path = format!("{path}/{}", trigger.as_str().unwrap());
        let ended = self.until(&path, |answer| answer["status"]["id"] == "COMPLETED").await;
        ended["operation"].clone()
    }
}

/// The head of a request.
pub fn head(method: &str, path: &str, content_type: &str, connection: &str, body: Option<&[u8]>) -> String {
    let length = body.map(|body| format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n", body.len()));
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n{}\r\n",
        length.unwrap_or_default()
    )
}

/// Status and JSON of an answer.
pub fn answer(bytes: &[u8]) -> (u16, Value) {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {text}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(head.to_lowercase().contains("content-type: application/json"), "{head}");
    (
        status,
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}")),
    )
}

/// The plan of a script's only job.
pub fn plan(sql: &str, options: &[(&str, &str)]) -> Plan {
    let options: Options = options.iter().copied().collect();
    let script = Script::parse(sql, &|_| None).unwrap();
    let mut session = Session::new(Arc::new(flott::registry()), options);
    let outcomes = session.execute_all(&script).unwrap();
    let job = outcomes.into_iter().find_map(|outcome| match outcome {
        Outcome::Job(job) => Some(job.plan),
        _ => None,
    });
    job.unwrap()
}
