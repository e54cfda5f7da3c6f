//! Watermark alignment: how far the sources of a group may read ahead of the slowest of it.
//!
//! ```text
//!  source subtask ── ReportedWatermark(where it is) ──► smallest of the group ── AlignWatermarks(that + its drift) ──► the same subtask
//! ```
//! Each subtask reports once in its update interval, wherever it runs, and the answer is for it alone; so nothing is sent to many, and
//! no clock is needed here. Who is idle or at its end reports the end of time; who has not reported yet does not count.

use crate::coordinator::SubtaskId;
use crate::deploy::JobSource;
use flott_core::time::{END_OF_TIME, EventTime};
use flott_plan::{JobGraph, NodeId, VertexId};
use std::collections::{BTreeMap, HashMap};

/// A source of a group.
struct Member {
    group: String,
    max_drift_ms: i64,
}

/// Where the sources of one attempt are.
#[derive(Default)]
pub(crate) struct Alignment {
    members: HashMap<VertexId, Member>,
    reached: HashMap<String, BTreeMap<SubtaskId, EventTime>>,
}

impl Alignment {
    /// Of the sources of a job, none of which has reported.
    pub(crate) fn of(graph: &JobGraph, sources: &HashMap<NodeId, JobSource>) -> Self {
        let member = |node: &NodeId| {
            let (group, max_drift_ms, _) = sources.get(node)?.watermark.as_ref()?.alignment.clone()?;
            Some(Member { group, max_drift_ms })
        };
        let vertices = graph.vertices.iter();
        let members = vertices.filter_map(|vertex| Some((vertex.id, member(vertex.nodes.first()?)?)));
        Self {
            members: members.collect(),
            reached: HashMap::new(),
        }
    }

    /// Up to where a subtask may read that has come to `reached`; `None` if it is in no group.
    pub(crate) fn limit(&mut self, subtask: SubtaskId, reached: EventTime) -> Option<EventTime> {
        let member = self.members.get(&subtask.0)?;
        let group = self.reached.entry(member.group.clone()).or_default();
        group.insert(subtask, reached);
        let slowest = group.values().copied().min().unwrap_or(END_OF_TIME);
        Some(slowest.saturating_add(member.max_drift_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_that_has_reported_limits_its_group() {
        let member = |group: &str, max_drift_ms| Member {
            group: group.to_owned(),
            max_drift_ms,
        };
        let members = [(0, member("a", 10)), (1, member("a", 100)), (2, member("b", 1))];
        let mut alignment = Alignment {
            members: members.into(),
            reached: HashMap::new(),
        };
        assert_eq!(alignment.limit((0, 0), 5_000), Some(5_010));
        assert_eq!(alignment.limit((1, 0), 40), Some(140), "each has its own drift");
        assert_eq!(alignment.limit((0, 0), 5_005), Some(50));
        assert_eq!(alignment.limit((2, 0), 7), Some(8), "groups do not know each other");
        assert_eq!(alignment.limit((3, 0), 7), None);
        assert_eq!(
            alignment.limit((0, 1), 20),
            Some(30),
            "subtasks of one source are aligned, too"
        );
        assert_eq!(
            alignment.limit((0, 1), END_OF_TIME),
            Some(50),
            "who has ended holds nobody back"
        );
        assert_eq!(alignment.limit((1, 0), END_OF_TIME), Some(5_105));
        assert_eq!(alignment.limit((0, 0), END_OF_TIME), Some(END_OF_TIME));
    }
}
