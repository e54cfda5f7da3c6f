//! Aggregations: in windows and with a changelog, in one phase or two.

use super::describe::{emit_text, group_window_text, select_text, time_attribute};
use super::{Need, NewNode, Output, Planner, Stream, append, field_names};
use crate::config::{AggPhase, PlannerConfig};
use crate::error::{SqlError, SqlResult, Step};
use crate::nodes::{
    AggregateCall, EmitSpec, GroupAggregateSpec, TimeAttribute, WindowAggregateSpec, WindowProperty, kind,
};
use crate::rel::{AggCall, Changelog, ModifyKinds, Rel, WindowAggregate, WindowTime, window_text};
use crate::rules::split::is_bucketed;
use flott_core::OperatorId;
use flott_plan::{NodeId, Partitioning, Role};

pub(super) fn node_calls(calls: &[AggCall]) -> Vec<AggregateCall> {
    calls
        .iter()
        .map(|c| AggregateCall {
            function: c.function.clone(),
            args: c.args.clone(),
            distinct: c.distinct,
            filter: c.filter,
            ty: c.ty.clone(),
            name: c.name.clone(),
            detail: c.detail.clone(),
        })
        .collect()
}

/// What a grouping without windows says, for readers that do not need -U rows.
pub(crate) fn group_spec(
    config: &PlannerConfig,
    input: &Rel,
    keys: &[usize],
    calls: &[AggCall],
    input_retracts: bool,
) -> GroupAggregateSpec {
    GroupAggregateSpec {
        input: input.schema(),
        keys: keys.to_vec(),
        aggregates: node_calls(calls),
        input_retracts,
        generate_update_before: false,
        mini_batch: config.mini_batch,
        ttl_ms: config.state_ttl_ms,
        is_incremental: false,
    }
}

pub(super) fn cannot_run(error: &crate::nodes::SpecError) -> SqlError {
    SqlError::new(Step::Unsupported, error.to_string())
}

/// Kinds, names and description tails of an aggregation in one phase and in two.
struct Phases {
    one: (&'static str, &'static str),
    local: (&'static str, &'static str),
    global: (&'static str, &'static str),
    id: OperatorId,
    local_id: OperatorId,
    keys: Vec<String>,
    description: String,
}

impl Planner {
    pub(super) fn window_aggregate(&mut self, rel: &Rel, window: &WindowAggregate, need: Need) -> SqlResult<Stream> {
        let names = field_names(&window.input.fields);
        let keys: Vec<String> = window.keys.iter().map(|&k| names[k].clone()).collect();
        let (time, column) = match window.time {
            WindowTime::Rowtime { column } => (TimeAttribute::EventTime { column }, names[column].clone()),
            WindowTime::Proctime => (TimeAttribute::ProcessingTime, "PROCTIME()".to_owned()),
            WindowTime::Attached {
                window_end,
                local_time,
                proctime,
            } => (
                TimeAttribute::Attached {
                    window_end,
                    local_time,
                    proctime,
                },
                names[window_end].clone(),
            ),
        };
        let text = match window.legacy {
            true => group_window_text(&window.window, &column),
            false => window_text(&window.window, &time_attribute(&column), &keys.join(", ")),
        };
        let emit_text = window.emit.as_ref().map_or_else(String::new, emit_text);
        let skeleton_kind = format!("window-aggregate {}", window_text(&window.window, "", ""));
        let id = self.skeleton.stateful(&skeleton_kind, &keys);
        let local_id = self.skeleton.stateless(kind::LOCAL_WINDOW_AGGREGATE);
        let stream = self.relation(&window.input, Need::UpdateBefore)?;
        let kinds = ModifyKinds::of(rel);
        let changelog = Changelog {
            kinds,
            update_before: kinds.update && need == Need::UpdateBefore,
        };
        let spec = WindowAggregateSpec {
            input: window.input.schema(),
            keys: window.keys.clone(),
            aggregates: node_calls(&window.calls),
            window: window.window,
            time,
            properties: window
                .properties
                .iter()
                .map(|(kind, name)| WindowProperty {
                    kind: *kind,
                    name: name.clone(),
                })
                .collect(),
            time_zone: self.config.time_zone.clone(),
            input_retracts: stream.retracts(),
            legacy: window.legacy,
            emit: window.emit.map(|emit| EmitSpec {
                update_before: changelog.update_before,
                ..emit
            }),
        };
        spec.validate().map_err(|e| cannot_run(&e))?;
        debug_assert_eq!(spec.output().len(), rel.fields.len());
        let two = self.config.agg_phase != AggPhase::One && spec.supports_two_phases();
        let phases = Phases {
            one: match window.legacy {
                true => (kind::GROUP_WINDOW_AGGREGATE, "GroupWindowAggregate"),
                false => (kind::WINDOW_AGGREGATE, "WindowAggregate"),
            },
            local: (kind::LOCAL_WINDOW_AGGREGATE, "LocalWindowAggregate"),
            global: (kind::GLOBAL_WINDOW_AGGREGATE, "GlobalWindowAggregate"),
            id,
            local_id,
            description: format!(
                "(groupBy=[{}], window=[{text}], select=[{}]{emit_text})",
                keys.join(", "),
                select_text(&keys, &window.calls, &names)
            ),
            keys,
        };
        let local = two.then(|| (spec.local_output(), spec.local_keys()));
        self.phases(phases, stream, &spec, spec.output(), &window.keys, local, changelog)
    }

    pub(super) fn group_aggregate(
        &mut self,
        rel: &Rel,
        input: &Rel,
        keys: &[usize],
        calls: &[AggCall],
        need: Need,
    ) -> SqlResult<Stream> {
        let names = field_names(&input.fields);
        let key_names: Vec<String> = keys.iter().map(|&k| names[k].clone()).collect();
        let id = self.skeleton.stateful("group-aggregate", &key_names);
        let local_id = self.skeleton.stateless(kind::LOCAL_GROUP_AGGREGATE);
        let incremental_id = self.skeleton.stateful("incremental-group-aggregate", &key_names);
        let stream = self.relation(input, Need::UpdateBefore)?;
        let kinds = ModifyKinds::of(rel);
        let changelog = Changelog {
            kinds,
            update_before: kinds.update && need == Need::UpdateBefore,
        };
        let mut spec = GroupAggregateSpec {
            generate_update_before: changelog.update_before,
            ..group_spec(&self.config, input, keys, calls, stream.retracts())
        };
        spec.is_incremental =
            self.config.splits_by_increments() && spec.supports_increments() && !is_bucketed(input, keys);
        spec.validate().map_err(|e| cannot_run(&e))?;
        let two = self.config.agg_phase != AggPhase::One && spec.supports_two_phases();
        let select = select_text(&key_names, calls, &names);
        let phases = Phases {
            one: (kind::GROUP_AGGREGATE, "GroupAggregate"),
            local: (kind::LOCAL_GROUP_AGGREGATE, "LocalGroupAggregate"),
            global: (kind::GLOBAL_GROUP_AGGREGATE, "GlobalGroupAggregate"),
            id,
            local_id,
            description: format!("(groupBy=[{}], select=[{select}])", key_names.join(", ")),
            keys: key_names,
        };
        if spec.is_incremental {
            return self.incremental_phases(phases, incremental_id, &stream, &spec, changelog);
        }
        let local = two.then(|| (spec.local_output(), spec.local_keys()));
        self.phases(phases, stream, &spec, spec.output(), keys, local, changelog)
    }

    /// Adds an aggregation in three phases: groups and distinct values of a mini-batch, what is new of the values, the groups.
    fn incremental_phases(
        &mut self,
        phases: Phases,
        id: OperatorId,
        stream: &Stream,
        spec: &GroupAggregateSpec,
        changelog: Changelog,
    ) -> SqlResult<Stream> {
        let (kind, name) = phases.local;
        let new = NewNode {
            kind,
            name,
            description: format!("{name}{}", phases.description),
            role: Role::Operator,
            id: phases.local_id,
            parallelism: self.parallelism_of(stream),
            output: spec.local_output(),
        };
        let local = self.add(new, spec, append())?;
        self.connect(stream, local);
        let global_spec = spec.behind_increments();
        // Exchanges have numbers of their own, as in Flink.
        self.exec_id();
        let name = "IncrementalGroupAggregate";
        let new = NewNode {
            kind: kind::INCREMENTAL_GROUP_AGGREGATE,
            name,
            description: format!("{name}{}", phases.description),
            role: Role::Operator,
            id,
            parallelism: self.config.parallelism,
            output: global_spec.local_output(),
        };
        let incremental = self.add(new, spec, append())?;
        let of = |node| {
            Stream::one(Output {
                node,
                changelog: append(),
            })
        };
        // Rows come with the hash of their group, or of that and the distinct value.
        self.exchange(&of(local), incremental, &Partitioning::Keyed);
        self.exec_id();
        let keys = global_spec.local_keys();
        let (partitioning, parallelism) = match keys.is_empty() {
            true => (Partitioning::Global, 1),
            false => (Partitioning::Hash { keys }, self.config.parallelism),
        };
        let (kind, name) = phases.global;
        let new = NewNode {
            kind,
            name,
            description: format!("{name}{}", phases.description),
            role: Role::Operator,
            id: phases.id,
            parallelism,
            output: global_spec.output(),
        };
        let node = self.add(new, &global_spec, changelog)?;
        self.exchange(&of(incremental), node, &partitioning);
        Ok(Stream::one(Output { node, changelog }))
    }

    /// Adds an aggregation. `local`: columns and key positions between its two phases, or one phase.
    #[allow(clippy::too_many_arguments)] // Both callers have all of it at hand; a struct would only rename it.
    fn phases<S: serde::Serialize>(
        &mut self,
        phases: Phases,
        stream: Stream,
        spec: &S,
        output: Vec<flott_core::Field>,
        keys: &[usize],
        local: Option<(Vec<flott_core::Field>, Vec<usize>)>,
        changelog: Changelog,
    ) -> SqlResult<Stream> {
        let (stream, keys, (kind, name)) = match local {
            None => (stream, keys.to_vec(), phases.one),
            Some((fields, keys)) => {
                let (kind, name) = phases.local;
                let new = NewNode {
                    kind,
                    name,
                    description: format!("{name}{}", phases.description),
                    role: Role::Operator,
                    id: phases.local_id,
                    parallelism: self.parallelism_of(&stream),
                    output: fields,
                };
                let local_changelog = append();
                let node = self.add(new, spec, local_changelog)?;
                self.connect(&stream, node);
                let output = Output {
                    node,
                    changelog: local_changelog,
                };
                (Stream::one(output), keys, phases.global)
            }
        };
        let (partitioning, parallelism) = match keys.is_empty() {
            true => (Partitioning::Global, 1),
            false => (Partitioning::Hash { keys }, self.config.parallelism),
        };
        // The exchange has a number of its own, as in Flink.
        self.exec_id();
        let new = NewNode {
            kind,
            name,
            description: format!("{name}{}", phases.description),
            role: Role::Operator,
            id: phases.id,
            parallelism,
            output,
        };
        let node: NodeId = self.add(new, spec, changelog)?;
        self.exchange(&stream, node, &partitioning);
        let _ = phases.keys;
        Ok(Stream::one(Output { node, changelog }))
    }
}
