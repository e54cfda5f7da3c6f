//! Who holds the flow of records up. Back-pressure is followed to the vertex that has it in front of it and none behind it.

use super::{Facts, Finding, FindingKind, OperatorFacts, Place, SubtaskFacts, VertexFacts, few, percent};

/// Share of its time that a subtask waits for those behind it from which on it counts as back-pressured: Flink's limit of "high".
const HIGH: f64 = 0.5;

/// Share of its time from which on a subtask works at its limit.
const FULL: f64 = 0.95;

/// A subtask that gets so many times what the others get on average is a hot one.
const SKEW: f64 = 4.0;

/// Records a second of a hot subtask that nobody waits for below which skew is nobody's business.
const SKEW_RECORDS: f64 = 100.0;

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    if !facts.is_measured() {
        return vec![];
    }
    let indexes = 0..facts.vertices.len();
    let mut findings: Vec<Finding> = indexes.filter_map(|index| of_vertex(facts, index)).collect();
    findings.extend(facts.vertices.iter().filter_map(|vertex| no_input(facts, vertex)));
    findings
}

fn is_pressured(vertex: &VertexFacts) -> bool {
    vertex.subtasks.iter().any(|subtask| subtask.back_pressured > HIGH)
}

/// What the vertex holds up, if it does.
fn of_vertex(facts: &Facts, index: usize) -> Option<Finding> {
    let vertex = &facts.vertices[index];
    if is_pressured(vertex) || vertex.subtasks.iter().any(|subtask| subtask.hung.is_some()) {
        // Another one behind it is to blame, or what hangs in it, which is told already.
        return None;
    }
    let subtasks = vertex.subtasks.iter().enumerate();
    let (worst, subtask) = subtasks.max_by(|(_, a), (_, b)| load(a).total_cmp(&load(b)))?;
    let victims = victims(facts, index);
    let culprit = Culprit {
        vertex,
        worst,
        subtask,
        victims: &victims,
    };
    if subtask.blocked > HIGH {
        return culprit.blocked(facts, index);
    }
    let hot = hot_subtask(vertex).map(|(hot, times)| (hot, times, &vertex.subtasks[hot]));
    match (hot, victims.is_empty()) {
        (Some((hot, times, most)), false) if load(most) > HIGH => Some(culprit.skewed(hot, times)),
        // Of those behind a fork one has them wait, and the others may have nothing to do.
        (_, false) => (load(subtask) > HIGH).then(|| culprit.busy()),
        (Some((hot, times, most)), true) if most.records_in >= SKEW_RECORDS => {
            let mut finding = culprit.skewed(hot, times);
            if load(most) <= FULL {
                finding.severity = super::Severity::Note;
            }
            Some(finding)
        }
        // Nobody in front of it could be held up but the source that it begins with.
        (None, true) if vertex.is_source && subtask.busy() > FULL && subtask.pending > 0 => Some(culprit.busy()),
        _ => None,
    }
}

/// Share of its time in which a subtask works or waits for something outside.
fn load(subtask: &SubtaskFacts) -> f64 {
    subtask.busy() + subtask.blocked
}

/// Who waits for a vertex: those in front of it that are back-pressured, and those in front of these.
pub(super) fn victims(facts: &Facts, index: usize) -> Vec<String> {
    let (mut found, mut open) = (vec![], vec![index]);
    while let Some(at) = open.pop() {
        for input in &facts.vertices[at].inputs {
            if is_pressured(&facts.vertices[*input]) && !found.contains(input) {
                found.push(*input);
                open.push(*input);
            }
        }
    }
    found.sort_unstable();
    found
        .into_iter()
        .map(|input| facts.vertices[input].name.clone())
        .collect()
}

/// The subtask of a keyed vertex that gets most, and how many times what the others get on average.
fn hot_subtask(vertex: &VertexFacts) -> Option<(usize, f64)> {
    vertex.keyed_by.as_ref()?;
    let subtasks = vertex.subtasks.iter().enumerate();
    let (hot, most) = subtasks.max_by(|(_, a), (_, b)| a.records_in.total_cmp(&b.records_in))?;
    let others = vertex.subtasks.len().checked_sub(1).filter(|others| *others > 0)?;
    let total: f64 = vertex.subtasks.iter().map(|subtask| subtask.records_in).sum();
    let average = (total - most.records_in) / others as f64;
    let is_hot = most.records_in > 0.0 && most.records_in >= SKEW * average;
    is_hot.then(|| (hot, most.records_in / average.max(f64::MIN_POSITIVE)))
}

/// A vertex that holds others up, or itself.
struct Culprit<'a> {
    vertex: &'a VertexFacts,
    worst: usize,
    subtask: &'a SubtaskFacts,
    victims: &'a [String],
}

impl Culprit<'_> {
    /// The operator of the worst subtask with the highest share.
    fn operator(&self, share: fn(&OperatorFacts) -> f64) -> Option<(&str, bool)> {
        let operators = self.subtask.operators.iter().enumerate();
        let (index, operator) = operators.max_by(|(_, a), (_, b)| share(a).total_cmp(&share(b)))?;
        let is_last = index + 1 == self.subtask.operators.len();
        Some((&operator.name, is_last && self.vertex.is_sink))
    }

    fn place(&self, operator: Option<(&str, bool)>) -> Place {
        let place = Place::of_subtask(self.vertex, self.worst);
        match operator {
            Some((name, _)) => place.operator(name),
            None => place,
        }
    }

    fn waiting(&self) -> String {
        match self.victims {
            [] => String::new(),
            victims => format!("; back-pressured by it: {}", few(victims)),
        }
    }

    /// An operator waits for something outside.
    fn blocked(&self, facts: &Facts, index: usize) -> Option<Finding> {
        // What a checkpoint waits for is told with the checkpoint.
        let of_checkpoint = |id: &(usize, usize)| *id == (index, self.worst);
        let is_stuck = super::checkpoints::stuck(facts).is_some_and(|c| c.missing.iter().any(of_checkpoint));
        if is_stuck && self.victims.is_empty() && self.subtask.records_in < 1.0 {
            return None;
        }
        let operator = self.operator(|operator| operator.blocked);
        let (place, share) = (self.place(operator), percent(self.subtask.blocked));
        let (rate, waiting) = (self.subtask.records_out, self.waiting());
        Some(match operator {
            Some((_, true)) => Finding::problem(
                FindingKind::SlowSink,
                format!(
                    "the sink {place} is slow: it waits {share} of its time for the system that it writes to, at {rate:.0} records/s{waiting}"
                ),
                vec![place],
                "look at the load of that system and at the network to it; if it can take more, raise the sink's parallelism or the size of its batches",
            ),
            _ => Finding::problem(
                FindingKind::WaitsOutside,
                format!("{place} waits {share} of its time for something outside, at {rate:.0} records/s{waiting}"),
                vec![place],
                "look at the service that it asks; if that can take more, raise the operator's capacity of calls under way, or its parallelism",
            ),
        })
    }

    /// It works all the time.
    fn busy(&self) -> Finding {
        let operator = self.operator(|operator| operator.busy);
        let (place, share) = (self.place(operator), percent(self.subtask.busy()));
        let (rate, waiting) = (self.subtask.records_in, self.waiting());
        match operator {
            Some((_, true)) => Finding::problem(
                FindingKind::SlowSink,
                format!(
                    "the sink {place} is slow: its subtask is busy {share} of its time, at {rate:.0} records/s{waiting}"
                ),
                vec![place],
                "look at the system that it writes to, or raise the sink's parallelism",
            ),
            _ => Finding::problem(
                FindingKind::Bottleneck,
                format!(
                    "{place} is the bottleneck: its subtask is busy {share} of its time, at {rate:.0} records/s{waiting}"
                ),
                vec![place],
                "raise the parallelism of this operator if slots and processors are free, or make its work cheaper",
            ),
        }
    }

    /// One subtask has most of the work.
    fn skewed(&self, hot: usize, times: f64) -> Finding {
        let (place, subtask) = (Place::of_subtask(self.vertex, hot), &self.vertex.subtasks[hot]);
        let total: f64 = self.vertex.subtasks.iter().map(|subtask| subtask.records_in).sum();
        let times = match times {
            ..1_000.0 => format!("{times:.1} times what the others get on average"),
            _ => "nearly all there are".to_owned(),
        };
        Finding::problem(
            FindingKind::SkewedKey,
            format!(
                "{place} gets {:.0} of {total:.0} records/s, {times}: few keys ({}) have most of the records; it is busy {} of its time{}",
                subtask.records_in,
                self.vertex.keyed_by.as_deref().unwrap_or_default(),
                percent(subtask.busy()),
                self.waiting()
            ),
            vec![place],
            "more parallelism does not help: aggregate in two phases (table.exec.mini-batch.enabled), filter the frequent key, NULL or a default, \
             or add a second column to the key",
        )
    }
}

/// A source without records, which is no fault of the job.
fn no_input(facts: &Facts, vertex: &VertexFacts) -> Option<Finding> {
    let is_silent = |subtask: &SubtaskFacts| subtask.records_in == 0.0 && subtask.idle > HIGH;
    (vertex.is_source && vertex.subtasks.iter().all(is_silent)).then(|| {
        Finding::note(
            FindingKind::NoInput,
            format!(
                "{} has had nothing to read in the last {:.0} s",
                vertex.name,
                facts.measured_seconds.max(1.0)
            ),
            vec![Place::of_vertex(vertex)],
            "",
        )
    })
}
