//! Which TaskManager runs each subtask of an attempt.
//!
//! All TaskManagers of an attempt are told of all subtasks, since each may send rows to any; so it is shared where it is in memory, and
//! written as runs: neighbouring subtasks go to one TaskManager.

use crate::coordinator::SubtaskId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ops::Deref;
use std::sync::Arc;

/// TaskManager of every subtask, by vertex and index. Cloning shares it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placement(Arc<Inner>);

#[derive(Debug, PartialEq, Eq, Default)]
struct Inner {
    of_vertex: Vec<Vec<usize>>,
    /// The other way round.
    subtasks: Vec<Vec<SubtaskId>>,
}

impl From<Vec<Vec<usize>>> for Placement {
    fn from(of_vertex: Vec<Vec<usize>>) -> Self {
        let managers = of_vertex.iter().flatten().max().map_or(0, |last| last + 1);
        let mut subtasks = vec![vec![]; managers];
        for (vertex, placed) in of_vertex.iter().enumerate() {
            for (subtask, manager) in placed.iter().enumerate() {
                subtasks[*manager].push((vertex, subtask));
            }
        }
        Self(Arc::new(Inner { of_vertex, subtasks }))
    }
}

impl Deref for Placement {
    type Target = [Vec<usize>];

    fn deref(&self) -> &Self::Target {
        &self.0.of_vertex
    }
}

impl Placement {
    /// The subtasks of a TaskManager, by vertex and index.
    pub fn subtasks_at(&self, manager: usize) -> &[SubtaskId] {
        self.0.subtasks.get(manager).map_or(&[], Vec::as_slice)
    }
}

/// Subtasks of a vertex, one behind the other: how many, and where.
type Runs = Vec<(usize, usize)>;

impl Serialize for Placement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let runs = |placed: &Vec<usize>| -> Runs {
            let runs = placed.chunk_by(|one, next| one == next);
            runs.map(|run| (run.len(), run[0])).collect()
        };
        serializer.collect_seq(self.iter().map(runs))
    }
}

/// More subtasks than a vertex has anywhere, so that a broken message takes no memory.
const MOST_SUBTASKS: usize = 1 << 20;

impl<'de> Deserialize<'de> for Placement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut of_vertex = vec![];
        for runs in Vec::<Runs>::deserialize(deserializer)? {
            let mut placed = vec![];
            for (count, manager) in runs {
                if count > MOST_SUBTASKS - placed.len() || manager > MOST_SUBTASKS {
                    return Err(serde::de::Error::custom("a placement has too many subtasks"));
                }
                placed.extend(std::iter::repeat_n(manager, count));
            }
            of_vertex.push(placed);
        }
        Ok(Self::from(of_vertex))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_written_as_one() {
        let placement = Placement::from(vec![vec![0, 0, 0, 1], vec![1, 0], vec![]]);
        let text = serde_json::to_string(&placement).unwrap();
        assert_eq!(text, "[[[3,0],[1,1]],[[1,1],[1,0]],[]]");
        assert_eq!(serde_json::from_str::<Placement>(&text).unwrap(), placement);
        assert_eq!(placement.subtasks_at(0), [(0, 0), (0, 1), (0, 2), (1, 1)]);
        assert_eq!(
            (placement.subtasks_at(1), placement.subtasks_at(2)),
            (&[(0, 3), (1, 0)][..], &[][..])
        );
        for wrong in ["[[[9999999,0]]]", "[[[1,9999999]]]", "[[[600000,0],[600000,0]]]"] {
            assert!(serde_json::from_str::<Placement>(wrong).is_err(), "{wrong}");
        }
    }
}
