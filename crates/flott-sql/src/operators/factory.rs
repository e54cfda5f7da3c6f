//! From plan nodes to operators: [`register`] makes the kinds of [`crate::nodes::kind`] known to the runtime.

use super::calc::Calc;
use super::constraints::{DropUpdateBefore, SinkConstraints};
use super::expand::Expand;
use super::group::aggregate::{GroupAggregate, Input as GroupInput};
use super::group::entries_local::EntriesLocalAggregate;
use super::group::incremental::IncrementalGroupAggregate;
use super::group::local::LocalGroupAggregate;
use super::materialize::SinkUpsertMaterializer;
use super::normalize::ChangelogNormalize;
use super::over::aggregate::OverAggregate;
use super::over::sorted::SortedOver;
use super::sort::limit::SortLimit;
use super::sort::temporal::TemporalSort;
use super::sort::updating::UpdatingLimit;
use super::unnest::Unnest;
use super::values::Values;
use super::watermark::SqlWatermark;
use super::window::aggregate::{Input as WindowInput, WindowAggregate};
use super::window::emitting::EmittingWindowAggregate;
use super::window::expanding::Expanding;
use super::window::local::LocalWindowAggregate;
use super::window::session_aggregate::SessionAggregate;
use super::window::session_rows::SessionRows;
use super::window::table_function::WindowTableFunction;
use crate::nodes::{
    GroupAggregateSpec, LimitSpec, OverAggregateSpec, OverOrder, TimeAttribute, VERSION, WATERMARK_GENERATOR,
    WindowAggregateSpec, WindowTableFunctionSpec, kind,
};
use flott_checkpoint::TableDescriptor;
use flott_plan::Node;
use flott_runtime::registry::{Registry, read_spec};
use flott_runtime::{FailureLabel, Operator, TaskError};
use serde::de::DeserializeOwned;

/// Registers SQL's operators, its VALUES source and its watermark generator.
pub fn register(registry: &mut Registry) {
    registry.operator(kind::CALC, |node, ctx| boxed(Calc::new(&spec(node)?, &ctx.clock)));
    registry.operator(kind::CORRELATE, |node, ctx| {
        boxed(Unnest::new(&spec(node)?, &ctx.clock))
    });
    for kind in [kind::WINDOW_AGGREGATE, kind::GROUP_WINDOW_AGGREGATE] {
        registry.operator(kind, |node, _| window_aggregate(&spec(node)?));
    }
    registry.operator(kind::EXPAND, |node, _| boxed(spec(node).map(Expand::new)));
    registry.operator(kind::GLOBAL_WINDOW_AGGREGATE, |node, _| {
        boxed(WindowAggregate::new(&spec(node)?, WindowInput::Partials))
    });
    registry.operator(kind::LOCAL_WINDOW_AGGREGATE, |node, _| {
        boxed(LocalWindowAggregate::new(&spec(node)?))
    });
    registry.operator(kind::WINDOW_TABLE_FUNCTION, |node, _| {
        let spec: WindowTableFunctionSpec = spec(node)?;
        match spec.window.is_session() {
            true => boxed(SessionRows::new(&spec)),
            false => boxed(WindowTableFunction::new(&spec)),
        }
    });
    registry.operator(kind::GROUP_AGGREGATE, |node, _| {
        boxed(GroupAggregate::new(&spec(node)?, GroupInput::Rows))
    });
    registry.operator(kind::GLOBAL_GROUP_AGGREGATE, |node, _| {
        boxed(GroupAggregate::new(&spec(node)?, GroupInput::Partials))
    });
    registry.operator(kind::LOCAL_GROUP_AGGREGATE, |node, _| {
        let spec: GroupAggregateSpec = spec(node)?;
        match spec.is_incremental {
            true => boxed(EntriesLocalAggregate::new(&spec)),
            false => boxed(LocalGroupAggregate::new(&spec)),
        }
    });
    registry.operator(kind::INCREMENTAL_GROUP_AGGREGATE, |node, _| {
        boxed(IncrementalGroupAggregate::new(&spec(node)?))
    });
    registry.operator(kind::DROP_UPDATE_BEFORE, |node, _| {
        boxed(spec(node).map(DropUpdateBefore))
    });
    registry.operator(kind::SINK_CONSTRAINTS, |node, _| {
        boxed(spec(node).map(SinkConstraints::new))
    });
    registry.operator(kind::OVER_AGGREGATE, |node, _| {
        let spec: OverAggregateSpec = spec(node)?;
        match spec.order {
            OverOrder::Column { .. } => boxed(SortedOver::new(&spec)),
            _ => boxed(OverAggregate::new(&spec)),
        }
    });
    for kind in [kind::LIMIT, kind::SORT_LIMIT] {
        registry.operator(kind, |node, _| {
            let spec: LimitSpec = spec(node)?;
            match spec.upsert_key {
                Some(_) => boxed(UpdatingLimit::new(&spec)),
                None => boxed(SortLimit::new(&spec)),
            }
        });
    }
    registry.operator(kind::TEMPORAL_SORT, |node, _| boxed(TemporalSort::new(&spec(node)?)));
    registry.operator(kind::CHANGELOG_NORMALIZE, |node, _| {
        boxed(ChangelogNormalize::new(&spec(node)?))
    });
    registry.operator(kind::SINK_MATERIALIZER, |node, _| {
        boxed(SinkUpsertMaterializer::new(&spec(node)?))
    });
    registry.source(kind::VALUES, |node, _| Ok(Box::new(Values::new(&spec(node)?)?)));
    registry.watermark(WATERMARK_GENERATOR, |watermark, ctx| {
        let spec = serde_json::from_value(watermark.spec.clone())
            .map_err(|e| TaskError::caused(FailureLabel::Internal, "the plan's watermark cannot be read", e).fatal())?;
        Ok(Box::new(SqlWatermark::new(&spec, &ctx.clock)?))
    });
}

/// The state tables of a node, empty for one without state: what EXPLAIN shows of them is what checkpoints hold.
///
/// # Errors
/// If the node's spec cannot be read or cannot run.
pub fn describe_state(node: &Node) -> Result<Vec<TableDescriptor>, TaskError> {
    match node.kind.as_str() {
        kind::WINDOW_AGGREGATE | kind::GROUP_WINDOW_AGGREGATE => window_state(&spec(node)?),
        kind::WINDOW_TABLE_FUNCTION => {
            let spec: WindowTableFunctionSpec = spec(node)?;
            match spec.window.is_session() {
                true => Ok(SessionRows::new(&spec)?.state_tables()),
                false => Ok(vec![]),
            }
        }
        kind::GLOBAL_WINDOW_AGGREGATE => Ok(WindowAggregate::new(&spec(node)?, WindowInput::Partials)?.state_tables()),
        kind::GROUP_AGGREGATE => Ok(GroupAggregate::new(&spec(node)?, GroupInput::Rows)?.state_tables()),
        kind::GLOBAL_GROUP_AGGREGATE => Ok(GroupAggregate::new(&spec(node)?, GroupInput::Partials)?.state_tables()),
        kind::INCREMENTAL_GROUP_AGGREGATE => Ok(IncrementalGroupAggregate::new(&spec(node)?)?.state_tables()),
        kind::OVER_AGGREGATE => {
            let spec: OverAggregateSpec = spec(node)?;
            match spec.order {
                OverOrder::Column { .. } => Ok(SortedOver::new(&spec)?.state_tables()),
                _ => Ok(OverAggregate::new(&spec)?.state_tables()),
            }
        }
        kind::LIMIT | kind::SORT_LIMIT => {
            let spec: LimitSpec = spec(node)?;
            match spec.upsert_key {
                Some(_) => Ok(UpdatingLimit::new(&spec)?.state_tables()),
                None => Ok(SortLimit::new(&spec)?.state_tables()),
            }
        }
        kind::TEMPORAL_SORT => Ok(TemporalSort::new(&spec(node)?)?.state_tables()),
        kind::CHANGELOG_NORMALIZE => Ok(ChangelogNormalize::new(&spec(node)?)?.state_tables()),
        kind::SINK_MATERIALIZER => Ok(SinkUpsertMaterializer::new(&spec(node)?)?.state_tables()),
        _ => Ok(vec![]),
    }
}

/// Which operator aggregates windows in one phase.
enum Form {
    Sliced,
    Sessions,
    Emitting,
}

fn form_of(spec: &WindowAggregateSpec) -> Form {
    match spec.time {
        _ if spec.emit.is_some() => Form::Emitting,
        TimeAttribute::Attached { .. } => Form::Sliced,
        _ if spec.window.is_session() => Form::Sessions,
        _ => Form::Sliced,
    }
}

pub(super) fn window_aggregate(spec: &WindowAggregateSpec) -> Result<Box<dyn Operator>, TaskError> {
    if let Some((function, aggregate)) = spec.expanded() {
        return boxed(Expanding::new(&function, window_aggregate(&aggregate)?));
    }
    match form_of(spec) {
        Form::Sliced => boxed(WindowAggregate::new(spec, WindowInput::Rows)),
        Form::Sessions => boxed(SessionAggregate::new(spec)),
        Form::Emitting => boxed(EmittingWindowAggregate::new(spec)),
    }
}

fn window_state(spec: &WindowAggregateSpec) -> Result<Vec<TableDescriptor>, TaskError> {
    if let Some((_, aggregate)) = spec.expanded() {
        return window_state(&aggregate);
    }
    Ok(match form_of(spec) {
        Form::Sliced => WindowAggregate::new(spec, WindowInput::Rows)?.state_tables(),
        Form::Sessions => SessionAggregate::new(spec)?.state_tables(),
        Form::Emitting => EmittingWindowAggregate::new(spec)?.state_tables(),
    })
}

/// Whether what a node of windows or OVER keeps stays in memory, whatever the backend: sessions without a key are one row of their table.
///
/// # Errors
/// If the node's spec cannot be read or cannot run.
pub(crate) fn keeps_in_memory(node: &Node) -> Result<bool, TaskError> {
    match node.kind.as_str() {
        kind::WINDOW_TABLE_FUNCTION => {
            let spec: WindowTableFunctionSpec = spec(node)?;
            return Ok(spec.window.is_session() && spec.partition.is_empty());
        }
        kind::OVER_AGGREGATE => {
            let spec: OverAggregateSpec = spec(node)?;
            return Ok(match spec.order {
                OverOrder::Column { .. } => true,
                _ => !OverAggregate::new(&spec)?.can_be_tiered(),
            });
        }
        _ => {}
    }
    let mut spec: WindowAggregateSpec = spec(node)?;
    while let Some((_, aggregate)) = spec.expanded() {
        spec = aggregate;
    }
    Ok(matches!(form_of(&spec), Form::Sessions) && spec.keys.is_empty())
}

fn boxed<O: Operator + 'static>(operator: Result<O, TaskError>) -> Result<Box<dyn Operator>, TaskError> {
    Ok(Box::new(operator?))
}

fn spec<T: DeserializeOwned>(node: &Node) -> Result<T, TaskError> {
    if node.version > VERSION {
        return Err(TaskError::user(format!(
            "'{}' is of kind '{}' version {}, but this build reads up to version {VERSION}: use the build that made the plan",
            node.name, node.kind, node.version
        ))
        .fatal());
    }
    read_spec(node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::AggregateCall;
    use flott_core::{Field, LogicalType, OperatorId};
    use flott_plan::{Chaining, Role};

    fn node(kind: &str, version: u32, spec: serde_json::Value) -> Node {
        Node {
            id: 0,
            operator_id: OperatorId::of("n"),
            uid: None,
            kind: kind.into(),
            version,
            name: "GroupAggregate[1]".into(),
            description: String::new(),
            role: Role::Operator,
            parallelism: 1,
            fixed_parallelism: false,
            max_parallelism: 128,
            chaining: Chaining::Always,
            slot_sharing_group: None,
            output: vec![],
            spec,
        }
    }

    fn group() -> serde_json::Value {
        let call = AggregateCall {
            function: "COUNT".into(),
            args: vec![1],
            distinct: true,
            filter: None,
            ty: LogicalType::bigint(),
            name: "n".into(),
            detail: Default::default(),
        };
        let spec = GroupAggregateSpec {
            input: vec![
                Field::new("k", LogicalType::string()),
                Field::new("v", LogicalType::bigint()),
            ],
            keys: vec![0],
            aggregates: vec![call],
            input_retracts: false,
            generate_update_before: true,
            mini_batch: None,
            ttl_ms: 0,
            is_incremental: false,
        };
        serde_json::to_value(spec).unwrap()
    }

    #[test]
    fn state_is_described_as_it_is_kept() {
        let tables = describe_state(&node(kind::GROUP_AGGREGATE, 1, group())).unwrap();
        let names: Vec<(&str, usize)> = tables.iter().map(|t| (t.name.as_str(), t.placement_fields)).collect();
        assert_eq!(names, [("accState", 1), ("distinctAcc_0", 1)]);
        assert_eq!(tables[1].key.len(), 2);
        assert!(
            describe_state(&node(kind::DROP_UPDATE_BEFORE, 1, serde_json::Value::Null))
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_newer_spec_is_refused_by_name() {
        let error = describe_state(&node(kind::GROUP_AGGREGATE, 2, group()))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("'GroupAggregate[1]'") && error.contains("version 2"),
            "{error}"
        );
    }
}
