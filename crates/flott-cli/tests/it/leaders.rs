//! Several JobManagers as processes: the one that leads is killed or paused at bad moments, and the job gives each row once.

use crate::cluster::{METRICS, behind, get, settle};
use crate::support::{Running, flott, start_with, wait_for};
use crate::trial::{From, Trial};

/// The election by a folder.
pub const BY_LEASE: [&str; 2] = [
    "high-availability.type=FILESYSTEM",
    "high-availability.lease-duration=2 s",
];

/// The same where nobody loses it by being slow; that a leader is killed, its connections tell.
const BY_LONG_LEASE: [&str; 2] = [BY_LEASE[0], "high-availability.lease-duration=1 min"];

/// JobManagers and TaskManagers that find each other by an election.
pub struct Leaders {
    options: Vec<String>,
    pub job_managers: Vec<JobManager>,
    task_managers: Vec<Running>,
}

pub struct JobManager {
    pub process: Running,
    /// Where its REST answers.
    pub rest: String,
}

impl Leaders {
    /// Two JobManagers and two TaskManagers of one slot; the JobManager that leads has these fail points.
    pub fn start(trial: &Trial, election: &[&str], failpoints: &str) -> Self {
        let storage = format!("high-availability.storageDir={}", trial.path("ha"));
        let options = [storage.as_str(), "heartbeat.interval=500 ms", METRICS];
        let mut leaders = Self {
            options: election
                .iter()
                .chain(&options)
                .map(|option| (*option).to_owned())
                .collect(),
            job_managers: vec![],
            task_managers: vec![],
        };
        leaders.add_job_manager(failpoints);
        assert!(wait_for(|| leaders.leader().is_some()));
        leaders.add_job_manager("");
        for _ in 0..2 {
            let running = leaders.spawn("taskmanager", &[], "");
            leaders.task_managers.push(running);
        }
        leaders.await_slots(2);
        leaders
    }

    fn spawn(&self, role: &str, more: &[&str], failpoints: &str) -> Running {
        let options = self.options.iter().map(String::as_str).chain(more.iter().copied());
        let args: Vec<&str> = options.flat_map(|option| ["-D", option]).collect();
        start_with(
            &[&[role], &args[..]].concat(),
            &[("FLOTT_FAILPOINTS", failpoints), ("FLOTT_LOG", "info")],
        )
    }

    pub fn add_job_manager(&mut self, failpoints: &str) {
        let process = self.spawn("jobmanager", &["rest.port=0", "jobmanager.rpc.port=0"], failpoints);
        assert!(
            wait_for(|| behind(&process.err(), "TaskManagers at ").is_some()),
            "{}",
            process.err()
        );
        let rest = behind(&process.err(), "REST at http://").unwrap().to_owned();
        self.job_managers.push(JobManager { process, rest });
    }

    /// Index of the one that leads.
    pub fn leader(&self) -> Option<usize> {
        let leads = |one: &JobManager| get(&one.rest, "/overview").is_some_and(|text| text.contains("slots-total"));
        self.job_managers.iter().position(leads)
    }

    fn await_slots(&self, slots: usize) {
        let wanted = format!("\"slots-total\":{slots}");
        let there = || {
            let answers = self.job_managers.iter().filter_map(|one| get(&one.rest, "/overview"));
            answers.into_iter().any(|text| text.replace(' ', "").contains(&wanted))
        };
        assert!(wait_for(there), "{}", self.said());
    }

    /// Waits until another one leads.
    pub fn await_leader(&self) -> &JobManager {
        assert!(wait_for(|| self.leader().is_some()), "nobody leads\n{}", self.said());
        &self.job_managers[self.leader().unwrap()]
    }

    pub fn said(&self) -> String {
        let job_managers = self.job_managers.iter().map(|one| one.process.err());
        let all: Vec<String> = job_managers
            .chain(self.task_managers.iter().map(Running::err))
            .collect();
        all.join("\n----\n")
    }

    pub fn submit(&self, trial: &Trial) {
        // The command asks the one that stands by, which sends it to the other.
        let standby = self
            .job_managers
            .iter()
            .rev()
            .find(|one| get(&one.rest, "/overview").is_some());
        let rest = &standby.unwrap().rest;
        let submitted = trial.start_with("2", From::Nothing, "", &["-d", "-m", rest]);
        submitted.ended().expect(0);
    }

    /// What `flott list` prints that is told of the election, and of no JobManager.
    pub fn listed(&self) -> String {
        let options = self.options.iter().flat_map(|option| ["-D", option]);
        let args: Vec<&str> = ["list"].into_iter().chain(options).collect();
        flott(&args).expect(0).out
    }

    /// Feeds the rest, and panics unless each row is there once and the job runs.
    pub fn finish(&self, trial: &Trial) {
        trial.feed(2).join().unwrap();
        assert_eq!(settle(trial), Ok(()), "{}", self.said());
        let listed = self.listed();
        assert!(listed.contains("(RUNNING)"), "{listed}");
    }
}

/// The job has gone on in the tasks that ran.
fn assert_adopted(leader: &JobManager) {
    let said = leader.process.err();
    assert!(said.contains("is_adopted=true"), "{said}");
}

/// Kills who leads, twice, while records flow.
pub fn kill_leaders(election: &[&str]) {
    let trial = Trial::to_topic();
    let mut leaders = Leaders::start(&trial, election, "");
    leaders.submit(&trial);
    for phase in 0..2 {
        let feeding = trial.feed(phase);
        let before = trial.rows().len();
        assert!(wait_for(|| trial.rows().len() > before), "{}", leaders.said());
        let leader = leaders.leader().unwrap();
        let killed = leaders.job_managers.remove(leader);
        killed.process.kill();
        leaders.add_job_manager("");
        assert_adopted(leaders.await_leader());
        feeding.join().unwrap();
    }
    leaders.finish(&trial);
}

#[test]
fn leaders_killed_at_any_time_let_tasks_run() {
    kill_leaders(&BY_LEASE);
}

#[test]
fn leaders_killed_at_each_step_of_a_checkpoint() {
    for point in ["checkpoint-trigger", "checkpoint-complete", "checkpoint-commit"] {
        let trial = Trial::to_topic();
        let mut leaders = Leaders::start(&trial, &BY_LONG_LEASE, &format!("{point}=kill@2"));
        leaders.submit(&trial);
        trial.feed(0).join().unwrap();
        // All of this may have been one checkpoint's: the second commit is of what comes behind it.
        assert!(wait_for(|| !trial.rows().is_empty()), "{}", leaders.said());
        trial.feed(1).join().unwrap();
        let is_killed = wait_for(|| !leaders.job_managers[0].process.is_running());
        assert!(is_killed, "{point} was not come to\n{}", leaders.said());
        trial.feed(2).join().unwrap();
        assert_eq!(settle(&trial), Ok(()), "after a kill at {point}\n{}", leaders.said());
    }
}

/// Pauses who leads until another does, and longer.
pub fn pause_leader(election: &[&str]) {
    let trial = Trial::to_topic();
    let leaders = Leaders::start(&trial, election, "");
    leaders.submit(&trial);
    let feeding = trial.feed(0);
    assert!(wait_for(|| !trial.rows().is_empty()), "{}", leaders.said());
    let paused = &leaders.job_managers[leaders.leader().unwrap()];
    paused.process.signal("STOP");
    let standby = leaders.job_managers.iter().find(|one| one.rest != paused.rest).unwrap();
    let leads = || get(&standby.rest, "/overview").is_some_and(|text| text.contains("slots-total"));
    assert!(wait_for(leads), "{}", leaders.said());
    assert_adopted(standby);
    feeding.join().unwrap();
    let before = trial.rows().len();
    let feeding = trial.feed(1);
    assert!(wait_for(|| trial.rows().len() > before), "{}", leaders.said());
    paused.process.signal("CONT");
    let is_over = || paused.process.err().contains("leads no more");
    assert!(wait_for(is_over), "{}", leaders.said());
    feeding.join().unwrap();
    leaders.finish(&trial);
    let listed = leaders.listed();
    let id = listed.lines().find_map(|line| line.split(" : ").nth(1)).unwrap();
    let exceptions = get(&standby.rest, &format!("/jobs/{id}/exceptions")).unwrap();
    assert!(!exceptions.contains("taskName"), "nothing failed: {exceptions}");
}

#[test]
fn a_leader_that_was_paused_does_no_harm() {
    pause_leader(&BY_LEASE);
}
