//! The event log of a job ([`EventLog`]): what became of it and where, in order of time, for who looks later.
//!
//! It names the five steps by which a job survives the loss of a TaskManager:
//!
//! | step | event |
//! |---|---|
//! | its input is cut into splits | `SPLITS_ASSIGNED` |
//! | which several TaskManagers read at the same time | `TASKS_DEPLOYED`, `TASKS_RUNNING` |
//! | the status of TaskManagers is watched, and a lost one found | `TASK_MANAGER_LOST`, then `TASKS_CANCELLING` and `RESTARTING` |
//! | it is given nothing any more | `TASK_MANAGER_REMOVED`, `SLOTS_REQUESTED` |
//! | its splits go to the others, which go on | `RESTORED`, `SPLITS_ASSIGNED`, `TASKS_DEPLOYED`, `TASKS_RUNNING` |
//!
//! Memory is bounded: [`EVENTS`] events, texts of at most [`TEXT_BYTES`] bytes. What comes again and again as long as a job is well
//! (checkpoints, splits that are found) has half of the room for itself, so that it pushes out no failure.

use crate::history::push;
use crate::protocol::Peer;
use flott_core::{CheckpointId, JobStatus};
use flott_runtime::FailureLabel;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

/// Events that are remembered: half of them such that come again and again.
pub const EVENTS: usize = 1_000;

/// Longest text of an event.
pub const TEXT_BYTES: usize = 4_096;

/// Something that happened to a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobEvent {
    /// Its number, from 1 and without gaps for a job.
    pub sequence: u64,
    /// When it became known, in milliseconds since the epoch.
    #[serde(rename = "timestamp")]
    pub at_ms: i64,
    /// What it is; its fields stand beside the others, its name is `type`.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened. Attempts count from 1; TaskManagers are named by their ids.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
pub enum EventKind {
    /// The job was accepted.
    Submitted {
        /// `pipeline.name`
        name: String,
        /// Where the checkpoint lies that it is to start from.
        restored_from: Option<String>,
    },
    /// It has come to this status.
    Status {
        /// Flink's name of it.
        status: String,
    },
    /// An attempt asks for slots.
    SlotsRequested {
        /// The attempt.
        attempt: u64,
        /// How many.
        slots: usize,
    },
    /// What the attempt starts from was read.
    Restored {
        /// Number of the checkpoint.
        checkpoint: CheckpointId,
        /// Where it is.
        path: String,
    },
    /// Splits of a source were given to its subtasks.
    SplitsAssigned {
        /// Name of the source's vertex.
        source: String,
        /// How many, by the TaskManager that reads them.
        splits: BTreeMap<String, usize>,
    },
    /// The tasks of an attempt were given to TaskManagers.
    TasksDeployed {
        /// The attempt.
        attempt: u64,
        /// How many subtasks, by TaskManager.
        subtasks: BTreeMap<String, usize>,
    },
    /// All operators of the attempt are open.
    TasksRunning {
        /// The attempt.
        attempt: u64,
    },
    /// A subtask failed.
    TaskFailed {
        /// Its vertex with its number, from 1, and theirs: `Calc (2/4)`.
        task: String,
        /// Whose business the failure is: `USER`, `DATA`, `RESOURCES`, `INFRASTRUCTURE` or `INTERNAL`.
        label: &'static str,
        /// Where it ran.
        task_manager_id: Option<String>,
        /// Where that is reached, host and port.
        endpoint: Option<String>,
        /// The message with its causes.
        failure: String,
    },
    /// Something else failed that the job cannot be without.
    JobFailure {
        /// Whose business it is, as of a task's.
        label: &'static str,
        /// The message with its causes.
        failure: String,
    },
    /// An operator is in a call of user code that does not return.
    UserCodeHangs {
        /// The vertex of the subtask with its number, from 1, and theirs: `Calc (2/4)`.
        task: String,
        /// The operator.
        operator: String,
        /// Where it runs.
        task_manager_id: Option<String>,
        /// Where that is reached, host and port.
        endpoint: Option<String>,
        /// How long the call has taken, in milliseconds.
        call_ms: u64,
    },
    /// It has returned after all.
    UserCodeGoesOn {
        /// The vertex of the subtask with its number.
        task: String,
        /// The operator.
        operator: String,
        /// How long the call had taken when it was seen last, in milliseconds.
        call_ms: u64,
    },
    /// A TaskManager was found to be gone.
    TaskManagerLost {
        /// Which.
        task_manager_id: String,
        /// Where it was reached, host and port.
        endpoint: String,
        /// Subtasks that ran there.
        subtasks: usize,
        /// How it was found.
        failure: String,
    },
    /// It offers no slots any more.
    TaskManagerRemoved {
        /// Which.
        task_manager_id: String,
        /// TaskManagers that are left.
        left: usize,
        /// Their free slots.
        free_slots: usize,
    },
    /// The tasks that are left are told to end.
    TasksCancelling {
        /// How many.
        subtasks: usize,
    },
    /// Another attempt follows.
    Restarting {
        /// After so many milliseconds.
        delay_ms: i64,
        /// Because of this.
        failure: String,
    },
    /// The job shall go on at another parallelism, behind a checkpoint that is taken for it.
    Rescaling {
        /// Whether a user asked for it; else slots have come.
        is_asked: bool,
        /// The vertices that change.
        vertices: Vec<RescaledVertex>,
    },
    /// State was read ahead where the next attempt will need it, while the job went on.
    StatePreloaded {
        /// The checkpoint of which it is.
        checkpoint: CheckpointId,
        /// How much, in bytes.
        bytes: u64,
        /// How long it took, in milliseconds.
        duration_ms: i64,
    },
    /// A checkpoint exists.
    CheckpointCompleted {
        /// Its number.
        checkpoint: CheckpointId,
        /// Its state, in bytes.
        bytes: u64,
        /// From its trigger to its manifest, in milliseconds.
        duration_ms: i64,
    },
    /// A checkpoint was given up.
    CheckpointFailed {
        /// Its number.
        checkpoint: CheckpointId,
        /// Why.
        failure: String,
    },
    /// A savepoint exists.
    SavepointCompleted {
        /// The checkpoint of which it is a copy.
        checkpoint: CheckpointId,
        /// Where it is.
        path: String,
    },
    /// A savepoint could not be taken.
    SavepointFailed {
        /// The checkpoint of which it would have been a copy.
        checkpoint: CheckpointId,
        /// Why.
        failure: String,
    },
}

/// A vertex that gets another parallelism.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RescaledVertex {
    /// Its name.
    pub name: String,
    /// Subtasks that it has.
    pub from: usize,
    /// Subtasks that it gets.
    pub to: usize,
}

impl EventKind {
    /// Whether it comes again and again as long as the job is well.
    fn is_frequent(&self) -> bool {
        matches!(
            self,
            Self::CheckpointCompleted { .. } | Self::CheckpointFailed { .. } | Self::SplitsAssigned { .. }
        )
    }

    /// The failure of a subtask that ran `at`.
    pub(crate) fn task_failed(task: String, label: FailureLabel, at: Option<&Peer>, failure: &str) -> Self {
        Self::TaskFailed {
            task,
            label: label_name(label),
            task_manager_id: at.map(|peer| peer.id.clone()),
            endpoint: at.map(|peer| peer.endpoint().to_owned()),
            failure: shortened(failure),
        }
    }
}

/// Flink's name of a status.
impl From<JobStatus> for EventKind {
    fn from(status: JobStatus) -> Self {
        let status = status.to_string();
        Self::Status { status }
    }
}

/// What a label is called in answers and logs.
pub fn label_name(label: FailureLabel) -> &'static str {
    match label {
        FailureLabel::Data => "DATA",
        FailureLabel::User => "USER",
        FailureLabel::Resources => "RESOURCES",
        FailureLabel::Infrastructure => "INFRASTRUCTURE",
        FailureLabel::Internal => "INTERNAL",
    }
}

/// A text of bounded length.
pub(crate) fn shortened(text: &str) -> String {
    match text.len() {
        0..=TEXT_BYTES => text.to_owned(),
        _ => format!("{}…", &text[..text.floor_char_boundary(TEXT_BYTES - '…'.len_utf8())]),
    }
}

/// The events of a job, over all attempts.
#[derive(Debug, Clone, Default)]
pub struct EventLog {
    rare: VecDeque<JobEvent>,
    frequent: VecDeque<JobEvent>,
    told: u64,
}

impl EventLog {
    /// Those that are remembered, oldest first.
    pub fn events(&self) -> Vec<&JobEvent> {
        let mut events: Vec<&JobEvent> = self.rare.iter().chain(&self.frequent).collect();
        events.sort_by_key(|event| event.sequence);
        events
    }

    /// Whether some were forgotten.
    pub fn is_truncated(&self) -> bool {
        self.told > (self.rare.len() + self.frequent.len()) as u64
    }

    pub(crate) fn add(&mut self, kind: EventKind, now_ms: i64) {
        self.told += 1;
        let room = if kind.is_frequent() {
            &mut self.frequent
        } else {
            &mut self.rare
        };
        let event = JobEvent {
            sequence: self.told,
            at_ms: now_ms,
            kind,
        };
        push(room, EVENTS / 2, event);
    }
}

/// Counts by name, as a sentence has them.
struct Counts<'a>(&'a BTreeMap<String, usize>);

impl fmt::Display for Counts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, count)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{count} at {name}")?;
        }
        Ok(())
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Submitted {
                name,
                restored_from: None,
            } => write!(f, "'{name}' was submitted"),
            Self::Submitted {
                name,
                restored_from: Some(path),
            } => write!(f, "'{name}' was submitted, to go on from {path}"),
            Self::Status { status } => write!(f, "the job is {status}"),
            Self::SlotsRequested { attempt, slots } => write!(f, "attempt {attempt} asks for {slots} slots"),
            Self::Restored { checkpoint, path } => write!(f, "restored from checkpoint {checkpoint} at {path}"),
            Self::SplitsAssigned { source, splits } => write!(f, "splits of {source}: {}", Counts(splits)),
            Self::TasksDeployed { attempt, subtasks } => {
                write!(f, "tasks of attempt {attempt} are deployed: {}", Counts(subtasks))
            }
            Self::TasksRunning { attempt } => write!(f, "all tasks of attempt {attempt} run"),
            Self::TaskFailed {
                task,
                label,
                task_manager_id,
                endpoint,
                failure,
            } => {
                write!(f, "{task} failed")?;
                if let (Some(id), Some(endpoint)) = (task_manager_id, endpoint) {
                    write!(f, " at {id} ({endpoint})")?;
                }
                write!(f, ", {label}: {failure}")
            }
            Self::UserCodeHangs {
                task,
                operator,
                task_manager_id,
                endpoint,
                call_ms,
            } => {
                write!(f, "{task} hangs")?;
                if let (Some(id), Some(endpoint)) = (task_manager_id, endpoint) {
                    write!(f, " at {id} ({endpoint})")?;
                }
                write!(
                    f,
                    ": operator {operator} has been in one call of user code for {call_ms} ms"
                )
            }
            Self::UserCodeGoesOn {
                task,
                operator,
                call_ms,
            } => write!(
                f,
                "{task} goes on: operator {operator} has returned from a call of more than {call_ms} ms"
            ),
            Self::JobFailure { label, failure } => write!(f, "{label}: {failure}"),
            Self::TaskManagerLost { subtasks, failure, .. } => write!(f, "{failure}; {subtasks} subtasks ran there"),
            Self::TaskManagerRemoved {
                task_manager_id,
                left,
                free_slots,
            } => write!(
                f,
                "{task_manager_id} is given nothing any more; {left} TaskManagers are left, with {free_slots} free slots"
            ),
            Self::TasksCancelling { subtasks } => write!(f, "{subtasks} subtasks are told to end"),
            Self::Restarting { delay_ms, .. } => write!(f, "the next attempt follows after {delay_ms} ms"),
            Self::Rescaling { is_asked, vertices } => {
                let why = if *is_asked {
                    "as asked for"
                } else {
                    "with the slots that there are"
                };
                write!(f, "the job is to be rescaled {why}:")?;
                for (i, RescaledVertex { name, from, to }) in vertices.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    write!(f, "{comma} {name} from {from} to {to}")?;
                }
                Ok(())
            }
            Self::StatePreloaded {
                checkpoint,
                bytes,
                duration_ms,
            } => write!(
                f,
                "{bytes} bytes of checkpoint {checkpoint} were read ahead in {duration_ms} ms"
            ),
            Self::CheckpointCompleted {
                checkpoint,
                bytes,
                duration_ms,
            } => write!(f, "checkpoint {checkpoint}: {bytes} bytes in {duration_ms} ms"),
            Self::CheckpointFailed { checkpoint, failure } => write!(f, "checkpoint {checkpoint}: {failure}"),
            Self::SavepointCompleted { checkpoint, path } => {
                write!(f, "savepoint {path}, a copy of checkpoint {checkpoint}")
            }
            Self::SavepointFailed { checkpoint, failure } => {
                write!(f, "savepoint of checkpoint {checkpoint}: {failure}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn checkpoint(checkpoint: CheckpointId) -> EventKind {
        EventKind::CheckpointCompleted {
            checkpoint,
            bytes: 1,
            duration_ms: 1,
        }
    }

    #[test]
    fn checkpoints_push_out_no_failure() {
        let mut log = EventLog::default();
        log.add(EventKind::from(JobStatus::Running), 0);
        for id in 1..=EVENTS as u64 {
            log.add(checkpoint(id), id as i64);
        }
        log.add(EventKind::TasksRunning { attempt: 2 }, 2_000);
        let events = log.events();
        assert_eq!(events.len(), EVENTS / 2 + 2);
        assert_eq!(events[0].kind, EventKind::from(JobStatus::Running));
        assert_eq!(events[1].kind, checkpoint(EVENTS as u64 / 2 + 1));
        assert!(events.is_sorted_by_key(|event| event.sequence));
        assert_eq!(events.last().unwrap().sequence, EVENTS as u64 + 2);
        assert!(log.is_truncated());
    }

    #[test]
    fn rare_events_are_bounded_too() {
        let mut log = EventLog::default();
        for attempt in 1..=EVENTS as u64 / 2 {
            log.add(EventKind::TasksRunning { attempt }, 0);
        }
        assert!(!log.is_truncated());
        log.add(EventKind::TasksRunning { attempt: 0 }, 0);
        assert_eq!((log.events().len(), log.events()[0].sequence), (EVENTS / 2, 2));
        assert!(log.is_truncated());
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let cut = shortened(&"é".repeat(TEXT_BYTES));
        assert!(cut.len() <= TEXT_BYTES && cut.ends_with("é…"), "{}", cut.len());
        assert_eq!(shortened("short"), "short");
    }

    #[test]
    fn an_event_is_one_flat_object() {
        let peer = Peer {
            id: "tm-1".into(),
            data_address: "host:6121".into(),
        };
        let event = JobEvent {
            sequence: 7,
            at_ms: 8,
            kind: EventKind::task_failed("Calc (2/4)".into(), FailureLabel::User, Some(&peer), "boom"),
        };
        assert_eq!(
            serde_json::to_value(&event).unwrap(),
            json!({
                "sequence": 7, "timestamp": 8, "type": "TASK_FAILED", "task": "Calc (2/4)", "label": "USER", "taskManagerId": "tm-1",
                "endpoint": "host:6121", "failure": "boom",
            })
        );
        assert_eq!(
            event.kind.to_string(),
            "Calc (2/4) failed at tm-1 (host:6121), USER: boom"
        );
    }

    #[test]
    fn counts_are_told_by_task_manager() {
        let subtasks = BTreeMap::from([("tm-1".to_owned(), 2), ("tm-2".to_owned(), 1)]);
        let kind = EventKind::TasksDeployed { attempt: 1, subtasks };
        assert_eq!(
            kind.to_string(),
            "tasks of attempt 1 are deployed: 2 at tm-1, 1 at tm-2"
        );
    }
}
