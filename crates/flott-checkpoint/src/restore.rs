//! Who gets which state when a job starts from a snapshot: [`restore_plan`].
//!
//! Keyed state goes by key group: a subtask opens the runs that overlap its range, and reads of them what lies in it. Entries of operator state go as their
//! [`Redistribute`] says; at an unchanged parallelism split entries stay where they were. Committables go to the subtasks in
//! turn, each to one. Rows in flight go where those went that they were on their way to; at another parallelism every subtask gets all, and
//! keeps its own.

use crate::error::CheckpointError;
use crate::manifest::{EntryRef, InFlightRef, InlineBytes, OperatorManifest, Redistribute, RunRef};
use flott_core::KeyGroupRange;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// State of one new subtask of an operator, still in files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubtaskRestore {
    /// The new subtask.
    pub index: usize,
    /// Its key groups.
    pub key_groups: KeyGroupRange,
    /// Runs with keys of its groups, to be read within these, in the order in which they are applied.
    pub runs: Vec<RunRef>,
    /// Its entries of operator state.
    pub entries: Vec<EntryRef>,
    /// Its share of what sinks had prepared.
    pub committables: Vec<InlineBytes>,
    /// Rows in flight of which it processes its part.
    #[serde(default)]
    pub in_flight: Vec<InFlightShare>,
}

/// Rows in flight, and where they were on their way to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InFlightShare {
    /// The subtask before.
    pub subtask: usize,
    /// How many there were.
    pub parallelism: usize,
    /// The rows.
    pub rows: InFlightRef,
}

/// Gives an operator's state to `parallelism` subtasks.
///
/// # Errors
/// If there are more subtasks than key groups.
pub fn restore_plan(operator: &OperatorManifest, parallelism: usize) -> Result<Vec<SubtaskRestore>, CheckpointError> {
    if parallelism > operator.max_parallelism {
        return Err(CheckpointError::Mismatch {
            operator: operator.name.clone(),
            problem: format!(
                "its parallelism {parallelism} is above the maximum parallelism {} of the state; lower the parallelism",
                operator.max_parallelism
            ),
        });
    }
    let mut plan: Vec<SubtaskRestore> = (0..parallelism)
        .map(|index| SubtaskRestore {
            index,
            key_groups: KeyGroupRange::of_subtask(operator.max_parallelism, parallelism, index),
            runs: Vec::new(),
            entries: Vec::new(),
            committables: Vec::new(),
            in_flight: Vec::new(),
        })
        .collect();
    let is_same_parallelism = operator.parallelism == parallelism;
    let mut next_split: BTreeMap<&str, usize> = BTreeMap::new();
    let mut next_committable = 0;
    for old in &operator.subtasks {
        for run in &old.runs {
            for subtask in &mut plan {
                subtask.runs.extend(run.clipped(&subtask.key_groups));
            }
        }
        for entry in &old.entries {
            match entry.redistribute {
                Redistribute::Split if is_same_parallelism => plan[old.index % parallelism].entries.push(entry.clone()),
                Redistribute::Split => {
                    let next = next_split.entry(&entry.name).or_default();
                    plan[*next % parallelism].entries.push(entry.clone());
                    *next += 1;
                }
                Redistribute::Union => plan.iter_mut().for_each(|s| s.entries.push(entry.clone())),
                Redistribute::Broadcast => {
                    let first = operator
                        .subtasks
                        .iter()
                        .find(|s| s.entries.iter().any(|e| e.name == entry.name));
                    if first.is_some_and(|f| f.index == old.index) {
                        plan.iter_mut().for_each(|s| s.entries.push(entry.clone()));
                    }
                }
            }
        }
        for rows in &old.in_flight {
            let share = InFlightShare {
                subtask: old.index,
                parallelism: operator.parallelism,
                rows: rows.clone(),
            };
            let gets_it = |new: &&mut SubtaskRestore| !is_same_parallelism || new.index == old.index;
            plan.iter_mut()
                .filter(gets_it)
                .for_each(|s| s.in_flight.push(share.clone()));
        }
        for committable in &old.committables {
            plan[next_committable % parallelism]
                .committables
                .push(committable.clone());
            next_committable += 1;
        }
    }
    Ok(plan)
}
