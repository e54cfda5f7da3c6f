//! What state is found by when a program starts again, perhaps changed.

use super::Graph;
use flott_core::OperatorId;
use flott_plan::NodeId;
use std::collections::{BTreeSet, HashMap, HashSet};

impl Graph {
    /// What state is found by: the uid, else what the operator does, behind which stateful operators, as which of its kind. So a
    /// new map or filter moves no state.
    pub(super) fn operator_ids(&self, job: &BTreeSet<NodeId>) -> HashMap<NodeId, OperatorId> {
        let mut ids: HashMap<NodeId, OperatorId> = HashMap::with_capacity(job.len());
        let mut seen: HashMap<String, usize> = HashMap::new();
        for node in job {
            let draft = &self.nodes[*node];
            let ancestors = self.stateful_ancestors(*node);
            let mut ancestors: Vec<String> = ancestors.iter().map(|a| ids[a].to_string()).collect();
            ancestors.sort_unstable();
            let place = format!("{}/{}/{}", draft.operation, draft.keeps_state, ancestors.join(","));
            let number = seen.entry(place.clone()).or_default();
            let id = match &draft.uid {
                Some(uid) => OperatorId::of(&format!("uid/{uid}")),
                None => OperatorId::of(&format!("{place}/{number}")),
            };
            *number += 1;
            ids.insert(*node, id);
        }
        ids
    }

    /// The nearest nodes upstream that keep state.
    fn stateful_ancestors(&self, node: NodeId) -> HashSet<NodeId> {
        let (mut found, mut passed) = (HashSet::new(), HashSet::new());
        let mut open = vec![node];
        while let Some(at) = open.pop() {
            for edge in self.edges.iter().filter(|e| e.to == at) {
                match self.nodes[edge.from].keeps_state {
                    true => drop(found.insert(edge.from)),
                    false if passed.insert(edge.from) => open.push(edge.from),
                    false => {}
                }
            }
        }
        found
    }
}
