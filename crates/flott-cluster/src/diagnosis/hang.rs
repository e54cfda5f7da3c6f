//! Calls of user code that do not return. Whatever waits behind them, records or barriers, is told with them.

use super::{Facts, Finding, FindingKind, HungCall, Place, VertexFacts, duration, few, flow};

/// Who hangs, a finding for each vertex: what hangs there has most often one cause.
pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let vertices = facts.vertices.iter().enumerate();
    vertices
        .filter_map(|(index, vertex)| of_vertex(facts, index, vertex))
        .collect()
}

fn of_vertex(facts: &Facts, index: usize, vertex: &VertexFacts) -> Option<Finding> {
    let subtasks = vertex.subtasks.iter().enumerate();
    let mut hung: Vec<(usize, &HungCall)> = subtasks.filter_map(|(n, s)| Some((n, s.hung.as_ref()?))).collect();
    hung.sort_by_key(|(_, call)| std::cmp::Reverse(call.ms));
    let (first, call) = *hung.first()?;
    let place = |(subtask, call): &(usize, &HungCall)| Place::of_subtask(vertex, *subtask).operator(&call.operator);
    let places: Vec<Place> = hung.iter().map(place).collect();
    let others = match hung.len() - 1 {
        0 => String::new(),
        others => format!("; so have {others} other subtasks of it"),
    };
    let waiting = match &flow::victims(facts, index)[..] {
        [] => String::new(),
        victims => format!("; back-pressured by it: {}", few(victims)),
    };
    let summary = format!(
        "operator {} of subtask {}/{}{} has been in one call of user code for {}{others}{waiting}",
        call.operator,
        first + 1,
        vertex.subtasks.len(),
        at(&places[0]),
        duration(call.ms),
    );
    Some(Finding::problem(
        FindingKind::HungCall,
        summary,
        places,
        "the function waits for something, loops, or has locked itself out: the thread dump of this TaskManager shows whether its thread runs \
         or sleeps; give what it asks outside a time limit. A task that does not end when it is told to ends its TaskManager after \
         task.cancellation.timeout",
    ))
}

fn at(place: &Place) -> String {
    match (&place.task_manager_id, &place.endpoint) {
        (Some(id), Some(endpoint)) => format!(" at TaskManager {id} ({endpoint})"),
        _ => String::new(),
    }
}
