//! The command as a child process, and a broker to run it against.

use flott_broker::{Broker, PlainRecord};
use flott_connectors::kafka::client::batch::walk::{RecordWalker, WalkOptions};
use flott_connectors::kafka::client::fetch::{FetchConfig, FetchEvent, Fetcher};
use flott_connectors::kafka::client::offsets::{Isolation, OffsetAt, TopicPartition};
use flott_connectors::kafka::client::{KafkaClient, KafkaProperties};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// No command of these tests needs so long.
const DEADLINE: Duration = Duration::from_secs(60);

/// The folder of the project.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// A file of the project.
pub fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// What a command has left.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; `None`: ended by a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ended {
    /// The lines of standard output, sorted.
    pub fn sorted(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.out.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// The rows that `print` has written, without their subtasks, sorted.
    pub fn sorted_rows(&self) -> Vec<String> {
        let of_row = |line: &str| line.split_once("> ").map_or(line, |(_, row)| row).to_owned();
        let mut rows: Vec<String> = self.out.lines().map(of_row).collect();
        rows.retain(|row| row.starts_with(['+', '-']));
        rows.sort();
        rows
    }

    /// Panics unless the exit code is `code`.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "standard output:\n{}\nstandard error:\n{}",
            self.out,
            self.err
        );
        self
    }
}

/// A command that runs.
pub struct Running {
    child: Child,
    out: Stream,
    err: Stream,
}

/// What a command has written so far, and the thread that reads it.
struct Stream {
    text: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts `flott` in the project's folder.
pub fn start(args: &[&str]) -> Running {
    start_with(args, &[])
}

/// Starts `flott` with further environment variables.
pub fn start_with(args: &[&str], envs: &[(&str, &str)]) -> Running {
    spawn(args, envs, Stdio::null())
}

/// Starts `flott` in a network of its own (`ip netns`), with its log on standard error.
pub fn start_within(network: &str, args: &[&str]) -> Running {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net=/run/netns/{network}"))
        .arg(env!("CARGO_BIN_EXE_flott"));
    spawn_command(command, args, &[("FLOTT_LOG", "info")], Stdio::null())
}

/// Starts `flott` with standard input to type into.
pub fn start_typing(args: &[&str]) -> Running {
    spawn(args, &[], Stdio::piped())
}

fn spawn(args: &[&str], envs: &[(&str, &str)], input: Stdio) -> Running {
    spawn_command(Command::new(env!("CARGO_BIN_EXE_flott")), args, envs, input)
}

fn spawn_command(mut command: Command, args: &[&str], envs: &[(&str, &str)], input: Stdio) -> Running {
    for variable in [
        "FLINK_PROPERTIES",
        "FLINK_CONF_DIR",
        "FLOTT_CONF_DIR",
        "FLOTT_FAILPOINTS",
        "FLOTT_LOG",
        "BOOTSTRAP",
    ] {
        command.env_remove(variable);
    }
    command.args(args).envs(envs.iter().copied()).current_dir(root());
    let mut child = command
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (out, err) = (drain(child.stdout.take().unwrap()), drain(child.stderr.take().unwrap()));
    Running { child, out, err }
}

fn drain(mut stream: impl Read + Send + 'static) -> Stream {
    let text = Arc::new(Mutex::new(vec![]));
    let shared = text.clone();
    let reader = std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(n @ 1..) = stream.read(&mut bytes) {
            shared.lock().unwrap().extend_from_slice(&bytes[..n]);
        }
    });
    Stream {
        text,
        reader: Some(reader),
    }
}

impl Stream {
    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned()
    }

    fn whole(&mut self) -> String {
        self.reader.take().unwrap().join().unwrap();
        self.so_far()
    }
}

impl Running {
    /// Number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, e.g. `STOP`.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Writes to its standard input, which must have been piped.
    pub fn type_in(&mut self, text: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        input.write_all(text.as_bytes()).unwrap();
        input.flush().unwrap();
    }

    /// What it has written to standard output so far.
    pub fn out(&self) -> String {
        self.out.so_far()
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal("INT");
    }

    /// What it has written to standard error so far.
    pub fn err(&self) -> String {
        self.err.so_far()
    }

    /// Sends SIGKILL and waits for its end.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Waits for its end.
    pub fn ended(mut self) -> Ended {
        // The end of what is typed.
        drop(self.child.stdin.take());
        let deadline = Instant::now() + DEADLINE;
        while self.is_running() {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let ended = self.collect();
                panic!("still running after {DEADLINE:?}: {ended:?}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.collect()
    }

    fn collect(&mut self) -> Ended {
        let code = self.child.wait().unwrap().code();
        Ended {
            code,
            out: self.out.whole(),
            err: self.err.whole(),
        }
    }
}

/// Runs `flott` to its end.
pub fn flott(args: &[&str]) -> Ended {
    start(args).ended()
}

/// A broker in this process with a runtime of its own.
pub struct Cluster {
    /// The broker.
    pub broker: Broker,
    runtime: tokio::runtime::Runtime,
}

impl Cluster {
    /// Starts one with these topics.
    pub fn start(topics: &[(&str, i32)]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let broker = runtime
            .block_on(Broker::builder().auto_create_topics(false).start())
            .unwrap();
        for (topic, partitions) in topics {
            broker.create_topic(topic, *partitions).unwrap();
        }
        Self { broker, runtime }
    }

    /// The argument that makes scripts use it.
    pub fn variable(&self) -> String {
        format!("BOOTSTRAP={}", self.broker.bootstrap())
    }

    /// Appends a record without a key.
    pub fn append(&self, topic: &str, partition: i32, timestamp_ms: i64, value: &str) {
        let record = PlainRecord {
            timestamp_ms,
            key: None,
            value: Some(value.as_bytes()),
        };
        self.broker.append_records(topic, partition, &[record]).unwrap();
    }

    /// Keys and values of a topic that are committed now, partition by partition in order.
    pub fn committed(&self, topic: &str) -> Vec<(String, String)> {
        self.runtime.block_on(read_committed(
            &self.broker.bootstrap(),
            topic,
            self.broker.log_end_offsets(topic).unwrap().len(),
        ))
    }

    /// Values of a topic that are committed now, sorted.
    pub fn values(&self, topic: &str) -> Vec<String> {
        let mut values: Vec<String> = self.committed(topic).into_iter().map(|(_, value)| value).collect();
        values.sort();
        values
    }
}

async fn read_committed(bootstrap: &str, topic: &str, partitions: usize) -> Vec<(String, String)> {
    let properties = KafkaProperties::new([("bootstrap.servers", bootstrap), ("isolation.level", "read_committed")]);
    let client = KafkaClient::connect(&properties).await.unwrap();
    let all: Vec<TopicPartition> = (0..partitions).map(|p| TopicPartition::new(topic, p as i32)).collect();
    let asked: Vec<_> = all.iter().map(|p| (p.clone(), OffsetAt::Latest)).collect();
    let ends = client.list_offsets(&asked, Isolation::ReadCommitted).await.unwrap();
    let notify = Arc::new(tokio::sync::Notify::new());
    let waker = notify.clone();
    let config = FetchConfig::from_properties(&properties).unwrap();
    let fetcher = Fetcher::new(client, config, Arc::new(move || waker.notify_one()));
    let mut values = vec![];
    for partition in all {
        let end = ends[&partition].unwrap();
        fetcher.assign(partition.clone(), None, 0);
        let mut position = 0;
        while position < end {
            let Some(event) = fetcher.poll() else {
                tokio::time::timeout(Duration::from_secs(20), notify.notified())
                    .await
                    .expect("no answer within 20 s");
                continue;
            };
            let FetchEvent::Records(fetched) = event else {
                panic!("{event:?}")
            };
            let mut walker = RecordWalker::new(
                fetched,
                WalkOptions {
                    check_crcs: true,
                    read_committed: true,
                },
            );
            while let Some(record) = walker.next().unwrap() {
                let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
                values.push((text(record.key), text(record.value)));
            }
            position = walker.position();
        }
        fetcher.unassign(&partition);
    }
    values
}

/// A port that nobody listened at a moment ago; others may take it.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until `done`, for a minute at most; says whether it was.
pub fn wait_for(mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline {
        if done() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}
