//! The dashboard and the alert rules of `deploy/monitoring`, asked of a real Prometheus that scrapes real processes: every panel shows
//! something of a job that runs, every rule can be evaluated, and faults are told.
//!
//! Debian's package `prometheus` has both commands that are run here, `prometheus` and `promtool`.

use crate::cluster::{Processes, get};
use crate::health::metrics_of;
use crate::support::{flott, free_port, root, text, wait_for};
use crate::trial::{From, Trial};
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const DASHBOARD: &str = "deploy/monitoring/grafana-dashboard.json";
const ALERTS: &str = "deploy/monitoring/alerts.yaml";

/// Panels that are empty while all is well, since they show what is not.
const ONLY_UNDER_FAULT: [&str; 1] = ["Alerts"];

/// Divides by zero at its first record, again and again.
const LOOPS: &str = "SET 'pipeline.name' = 'loops';
    SET 'restart-strategy.type' = 'fixed-delay';
    SET 'restart-strategy.fixed-delay.attempts' = '1000000';
    SET 'restart-strategy.fixed-delay.delay' = '100 ms';
    CREATE TABLE numbers (n INT) WITH ('connector' = 'datagen', 'rows-per-second' = '100');
    CREATE TABLE nothing (n INT) WITH ('connector' = 'blackhole');
    INSERT INTO nothing SELECT 1 / (n - n) FROM numbers;";

/// A Prometheus that scrapes these places and has the alert rules.
struct Prometheus {
    dir: TempDir,
    place: String,
    process: Child,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The alert rules, of which those that wait for a minute wait for a second.
fn hasty_rules() -> String {
    let rules = text(ALERTS);
    let hasty = rules.replace("for: 1m\n", "for: 1s\n");
    assert_ne!(rules, hasty);
    hasty
}

impl Prometheus {
    fn start(targets: &[String]) -> Self {
        loop {
            let dir = tempfile::tempdir().unwrap();
            let place = format!("127.0.0.1:{}", free_port());
            let process = spawn(dir.path(), &place, targets);
            let mut server = Self { dir, place, process };
            if server.answers() {
                return server;
            }
            // Others may have taken the port meanwhile.
            assert!(server.said().contains("address already in use"), "{}", server.said());
        }
    }

    /// Whether it answers, at last; it may end first.
    fn answers(&mut self) -> bool {
        let mut is_ready = false;
        wait_for(|| {
            is_ready = get(&self.place, "/-/ready").is_some_and(|text| text.contains("Ready"));
            is_ready || self.process.try_wait().unwrap().is_some()
        });
        is_ready
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("said")).unwrap()
    }

    /// What it answers of its API.
    fn ask(&self, path: &str) -> Value {
        let body = get(&self.place, &format!("/api/v1/{path}")).unwrap();
        let answer: Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"));
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    /// The series of an expression, as they are now.
    fn series(&self, expression: &str) -> Vec<Value> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        self.ask(&format!("query?query={encoded}"))["result"]
            .as_array()
            .unwrap()
            .clone()
    }

    /// The rules that were evaluated.
    fn rules(&self) -> Vec<Value> {
        let groups = self.ask("rules")["groups"].as_array().unwrap().clone();
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
        rules.filter(|rule| rule["health"] != "unknown").cloned().collect()
    }

    /// Alerts that fire, as the rule's name and the job's.
    fn firing(&self) -> Vec<(String, String)> {
        let alerts = self.ask("alerts")["alerts"].as_array().unwrap().clone();
        let label = |alert: &Value, name: &str| alert["labels"][name].as_str().unwrap_or_default().to_owned();
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        firing
            .map(|alert| (label(alert, "alertname"), label(alert, "job_name")))
            .collect()
    }

    fn await_alert(&self, name: &str, job: &str) {
        let wanted = (name.to_owned(), job.to_owned());
        assert!(
            wait_for(|| self.firing().contains(&wanted)),
            "{wanted:?} is not among {:?}",
            self.firing()
        );
    }
}

fn spawn(dir: &Path, place: &str, targets: &[String]) -> Child {
    let (rules, settings) = (dir.join("alerts.yaml"), dir.join("prometheus.yml"));
    std::fs::write(&rules, hasty_rules()).unwrap();
    let targets: Vec<String> = targets.iter().map(|target| format!("'{target}'")).collect();
    let content = format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}}\n\
         rule_files: ['{}']\n\
         scrape_configs: [{{job_name: flott, static_configs: [{{targets: [{}]}}]}}]\n",
        rules.display(),
        targets.join(", ")
    );
    std::fs::write(&settings, content).unwrap();
    let said = std::fs::File::create(dir.join("said")).unwrap();
    let mut prometheus = Command::new("prometheus");
    prometheus.arg(format!("--config.file={}", settings.display()));
    prometheus.arg(format!("--storage.tsdb.path={}", dir.join("data").display()));
    prometheus.arg(format!("--web.listen-address={place}"));
    prometheus.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
    prometheus.spawn().expect("prometheus cannot be run")
}

/// A query of the dashboard: its panel's title, and its expression for all jobs and TaskManagers.
fn queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&text(DASHBOARD)).unwrap();
    let all = |expression: &Value| {
        let expression = expression.as_str().unwrap();
        let filled = expression.replace("$job", ".*").replace("$taskmanager", ".*");
        filled.replace("$__rate_interval", "1m")
    };
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let panels = panels.filter(|panel| panel["type"] != "row");
    panels
        .flat_map(|panel| {
            let title = panel["title"].as_str().unwrap();
            let targets = panel["targets"].as_array().unwrap();
            targets
                .iter()
                .map(move |target| (title.to_owned(), all(&target["expr"])))
        })
        .collect()
}

/// Prometheus' tool, which must find nothing wrong.
fn promtool(args: &[&str]) {
    let tool = Command::new("promtool").args(args).current_dir(root()).output();
    let ended = tool.expect("promtool cannot be run");
    let said = String::from_utf8_lossy(&ended.stdout) + String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "promtool {args:?}: {said}");
}

#[test]
#[ignore = "needs Debian's package prometheus: .ci/run installs it"]
fn alert_rules_fire_at_their_thresholds_and_not_before() {
    promtool(&["check", "rules", ALERTS]);
    promtool(&["test", "rules", "deploy/monitoring/alerts.test.yaml"]);
}

#[test]
#[ignore = "needs Debian's package prometheus: .ci/run installs it"]
fn panels_show_a_job_that_runs_and_alerts_tell_of_faults() {
    let trial = Trial::to_topic();
    let mut cluster = Processes::start(3, "");
    cluster.submit(&trial, "2", From::Nothing);
    let processes = cluster.job_manager.iter().chain(&cluster.task_managers);
    let prometheus = Prometheus::start(&processes.map(metrics_of).collect::<Vec<_>>());
    trial.feed_all().join().unwrap();

    let (under_fault, queries): (Vec<_>, Vec<_>) = queries()
        .into_iter()
        .partition(|(title, _)| ONLY_UNDER_FAULT.contains(&title.as_str()));
    for (title, expression) in &queries {
        let is_shown = wait_for(|| !prometheus.series(expression).is_empty());
        assert!(
            is_shown,
            "'{title}' shows nothing of {expression}\n{}",
            prometheus.said()
        );
    }
    let count = text(ALERTS).matches("- alert: ").count();
    assert!(
        wait_for(|| prometheus.rules().len() == count),
        "{:?}",
        prometheus.rules()
    );
    for rule in prometheus.rules() {
        assert_eq!(rule["health"], "ok", "{rule:#}");
    }
    let is_well = || prometheus.firing().is_empty();
    assert!(wait_for(is_well), "{:?}", prometheus.firing());

    flott(&["run", "-d", "-m", &cluster.rest, "-p", "1", "-e", LOOPS]).expect(0);
    prometheus.await_alert("FlottRestartLoop", "loops");
    let lost = |(alert, _): &(String, String)| alert == "FlottTaskManagerLost";
    assert!(!prometheus.firing().iter().any(lost), "{:?}", prometheus.firing());
    cluster.task_managers.pop().unwrap().kill();
    prometheus.await_alert("FlottTaskManagerLost", "");
    for (title, expression) in &under_fault {
        assert!(!prometheus.series(expression).is_empty(), "'{title}' shows no fault");
    }
}
