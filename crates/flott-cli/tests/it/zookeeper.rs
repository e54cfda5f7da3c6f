//! Several JobManagers of which a real ZooKeeper says who leads: what becomes of a job when the leader is killed or paused, or ZooKeeper itself.
//!
//! `FLOTT_ZOOKEEPER_LIB` is the folder of ZooKeeper's jars, which `bench/fetch-peers.sh` fetches; Java runs them.

use crate::leaders::{BY_LEASE, Leaders, kill_leaders, pause_leader};
use crate::support::{flott, free_port, start, wait_for};
use crate::trial::Trial;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const TYPE: &str = "high-availability.type=zookeeper";

/// A server of ZooKeeper, alone, which keeps what it knows when it is killed.
struct ZooKeeper {
    dir: TempDir,
    port: u16,
    process: Child,
}

impl Drop for ZooKeeper {
    fn drop(&mut self) {
        self.kill();
    }
}

impl ZooKeeper {
    fn start() -> Self {
        loop {
            let dir = tempfile::tempdir().unwrap();
            let port = free_port();
            let process = spawn(&dir, port);
            let mut server = Self { dir, port, process };
            if server.answers() {
                return server;
            }
            // Others may have taken the port meanwhile.
            assert!(server.said().contains("in use"), "{}", server.said());
        }
    }

    /// Whether it listens, at last; it may end first.
    fn answers(&mut self) -> bool {
        let mut listens = false;
        wait_for(|| {
            listens = TcpStream::connect(("127.0.0.1", self.port)).is_ok();
            listens || self.process.try_wait().unwrap().is_some()
        });
        listens && self.process.try_wait().unwrap().is_none()
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("said")).unwrap()
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    fn start_again(&mut self) {
        self.process = spawn(&self.dir, self.port);
        assert!(self.answers(), "{}", self.said());
    }

    fn quorum(&self) -> String {
        format!("high-availability.zookeeper.quorum=127.0.0.1:{}", self.port)
    }
}

fn spawn(dir: &TempDir, port: u16) -> Child {
    let lib = std::env::var("FLOTT_ZOOKEEPER_LIB").expect("FLOTT_ZOOKEEPER_LIB names the folder of ZooKeeper's jars");
    let data = dir.path().join("data").display().to_string();
    let settings = dir.path().join("zoo.cfg");
    // Sessions of 1 to 10 seconds.
    let lines = [
        "tickTime=500",
        &format!("dataDir={data}"),
        &format!("clientPort={port}"),
        "clientPortAddress=127.0.0.1",
        "admin.enableServer=false",
    ];
    std::fs::write(&settings, lines.join("\n")).unwrap();
    let said = std::fs::File::create(dir.path().join("said")).unwrap();
    let mut java = Command::new("java");
    java.args(["-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", &format!("{lib}/*")]);
    java.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
        .arg(&settings);
    java.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
    java.spawn().expect("java cannot be run")
}

/// The options of an election by ZooKeeper.
fn election(quorum: &str) -> [&str; 3] {
    [TYPE, quorum, "high-availability.zookeeper.client.session-timeout=6 s"]
}

#[test]
#[ignore = "needs ZooKeeper's jars and Java: .ci/run fetches them"]
fn leaders_killed_at_any_time_let_tasks_run() {
    let zookeeper = ZooKeeper::start();
    kill_leaders(&election(&zookeeper.quorum()));
}

#[test]
#[ignore = "needs ZooKeeper's jars and Java: .ci/run fetches them"]
fn a_leader_that_was_paused_does_no_harm() {
    let zookeeper = ZooKeeper::start();
    pause_leader(&election(&zookeeper.quorum()));
}

#[test]
#[ignore = "needs ZooKeeper's jars and Java: .ci/run fetches them"]
fn a_cluster_outlives_its_zookeeper() {
    let mut zookeeper = ZooKeeper::start();
    let quorum = zookeeper.quorum();
    for tolerates in ["false", "true"] {
        let tolerates = format!("high-availability.zookeeper.client.tolerate-suspended-connections={tolerates}");
        let trial = Trial::to_topic();
        // Under a name of its own: the one before may be remembered.
        let cluster = format!("high-availability.cluster-id=/{}", tolerates.len());
        let options = [&election(&quorum)[..], &[&tolerates, &cluster]].concat();
        let leaders = Leaders::start(&trial, &options, "");
        leaders.submit(&trial);
        for phase in 0..2 {
            let feeding = trial.feed(phase);
            let before = trial.rows().len();
            assert!(wait_for(|| trial.rows().len() > before), "{}", leaders.said());
            zookeeper.kill();
            zookeeper.start_again();
            leaders.await_leader();
            feeding.join().unwrap();
        }
        leaders.finish(&trial);
    }
}

#[test]
#[ignore = "needs ZooKeeper's jars and Java: .ci/run fetches them"]
fn a_cluster_that_changes_its_election_keeps_its_jobs() {
    let zookeeper = ZooKeeper::start();
    let quorum = zookeeper.quorum();
    let by_zookeeper = election(&quorum);
    let trial = Trial::to_topic();
    for (phase, election) in [&BY_LEASE[..], &by_zookeeper, &BY_LEASE].into_iter().enumerate() {
        let leaders = Leaders::start(&trial, election, "");
        if phase == 0 {
            leaders.submit(&trial);
        }
        if phase == 2 {
            leaders.finish(&trial);
            continue;
        }
        let before = trial.rows().len();
        trial.feed(phase as i64).join().unwrap();
        assert!(wait_for(|| trial.rows().len() > before), "{}", leaders.said());
    }
}

#[test]
fn a_zookeeper_that_is_not_there_is_told_of_and_waited_for() {
    let trial = Trial::to_topic();
    let storage = format!("high-availability.storageDir={}", trial.path("ha"));
    let port = free_port();
    let quorum = format!("high-availability.zookeeper.quorum=127.0.0.1:{port}");
    let soon = "high-availability.zookeeper.client.connection-timeout=100 ms";
    let options = [TYPE, &storage, &quorum, soon, "rest.port=0", "jobmanager.rpc.port=0"];
    let args: Vec<&str> = options.iter().flat_map(|option| ["-D", *option]).collect();
    let mut job_manager = start(&[&["jobmanager"], &args[..]].concat());
    let warns = || {
        let said = job_manager.err();
        said.contains("is not reached")
            && said.contains(&format!("127.0.0.1:{port} (high-availability.zookeeper.quorum)"))
    };
    assert!(wait_for(warns), "{}", job_manager.err());
    assert!(job_manager.is_running());
    let listed = flott(&[&["list"], &args[..]].concat()).expect(1).err;
    assert!(
        listed.contains("high-availability.zookeeper.quorum") && listed.contains("-m HOST:PORT"),
        "{listed}"
    );
}

#[test]
fn wrong_options_are_told_at_the_start() {
    let trial = Trial::to_topic();
    let storage = format!("high-availability.storageDir={}", trial.path("ha"));
    for (option, remedy) in [
        ("high-availability.zookeeper.quorum=127.0.0.1:port", "host:port"),
        (
            "high-availability.zookeeper.client.ensemble-tracker=true",
            "needs false",
        ),
        (
            "zookeeper.sasl.service-name=zk",
            "high-availability.zookeeper.client.authorization",
        ),
    ] {
        let (key, value) = option.split_once('=').unwrap();
        let quorum = "high-availability.zookeeper.quorum=127.0.0.1:1";
        for role in ["jobmanager", "taskmanager"] {
            let said = flott(&[role, "-D", TYPE, "-D", &storage, "-D", quorum, "-D", option])
                .expect(1)
                .err;
            assert!([key, value, remedy].iter().all(|part| said.contains(part)), "{said}");
        }
    }
}
