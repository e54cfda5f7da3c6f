//! OVER aggregates.

use super::aggregate::{cannot_run, node_calls};
use super::{Need, NewNode, Output, Planner, Stream, field_names};
use crate::error::{SqlError, SqlResult, Step};
use crate::nodes::{OverAggregateSpec, OverFrame, OverOrder, kind};
use crate::rel::{Changelog, ModifyKinds, OverAggregate, Rel, TimeKind, call_text};
use flott_plan::{Partitioning, Role};

impl Planner {
    pub(super) fn over_aggregate(&mut self, rel: &Rel, over: &OverAggregate, need: Need) -> SqlResult<Stream> {
        let input = &over.input;
        let time = input.fields[over.order].time;
        if time.is_some() && !ModifyKinds::of(input).is_append() {
            let text =
                "OVER aggregates read inserts only, as in Flink, but this query's input brings updates or deletions";
            return Err(SqlError::new(Step::Unsupported, text)
                .remedy("look OVER the rows before they are aggregated, or aggregate in windows"));
        }
        let names = field_names(&input.fields);
        let keys: Vec<String> = over.partition.iter().map(|&k| names[k].clone()).collect();
        let kinds = ModifyKinds::of(rel);
        let changelog = Changelog {
            kinds,
            update_before: kinds.update && need == Need::UpdateBefore,
        };
        let order = match time {
            Some(TimeKind::Proctime) => OverOrder::ProcessingTime,
            Some(TimeKind::Rowtime) => OverOrder::EventTime { column: over.order },
            None => OverOrder::Column {
                column: over.order,
                update_before: changelog.update_before,
            },
        };
        let id = self.skeleton.stateful("over-aggregate", &keys);
        let stream = self.relation(input, Need::UpdateBefore)?;
        let spec = OverAggregateSpec {
            input: input.schema(),
            partition: over.partition.clone(),
            order,
            frame: over.frame,
            aggregates: node_calls(&over.calls),
            ttl_ms: self.config.state_ttl_ms,
        };
        spec.validate().map_err(|e| cannot_run(&e))?;
        let partition = match keys.is_empty() {
            true => String::new(),
            false => format!("partitionBy=[{}], ", keys.join(", ")),
        };
        let calls = over
            .calls
            .iter()
            .map(|c| format!("{} AS {}", call_text(c, &names), c.name));
        let select: Vec<String> = names.iter().cloned().chain(calls).collect();
        let description = format!(
            "OverAggregate({partition}orderBy=[{} ASC], window=[{}], select=[{}])",
            names[over.order],
            frame_text(over.frame),
            select.join(", ")
        );
        let (partitioning, parallelism) = match over.partition.is_empty() {
            true => (Partitioning::Global, 1),
            false => (
                Partitioning::Hash {
                    keys: over.partition.clone(),
                },
                self.config.parallelism,
            ),
        };
        // The exchange has a number of its own, as in Flink.
        self.exec_id();
        let new = NewNode {
            kind: kind::OVER_AGGREGATE,
            name: "OverAggregate",
            description,
            role: Role::Operator,
            id,
            parallelism,
            output: spec.output(),
        };
        let node = self.add(new, &spec, changelog)?;
        self.exchange(&stream, node, &partitioning);
        Ok(Stream::one(Output { node, changelog }))
    }
}

fn frame_text(frame: OverFrame) -> String {
    match frame {
        OverFrame::UnboundedRows => "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW".to_owned(),
        OverFrame::UnboundedRange => "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW".to_owned(),
        OverFrame::Rows { preceding } => format!("ROWS BETWEEN {preceding} PRECEDING AND CURRENT ROW"),
        OverFrame::Range { preceding_ms } => format!("RANGE BETWEEN {preceding_ms} PRECEDING AND CURRENT ROW"),
    }
}
