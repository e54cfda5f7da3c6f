//! From relations to a [`flott_plan::Plan`]: nodes with the names of Flink's stream exec nodes, exchanges, parallelism,
//! operator ids and changelogs.
//!
//! A relation is planned from its sink downwards, inputs before outputs. What a reader needs of its input's updates
//! ([`Need`]) goes down, what the input yields ([`Changelog`]) comes up. Equal relations under equal needs are planned
//! once, so the sinks of a statement set share what they have in common.
//!
//! Operator ids come from the stateful skeleton ([`Skeleton`]): sink, kind, keys and position, never from expressions.

mod aggregate;
mod describe;
mod over;
mod sink;
mod skeleton;
mod sort;
mod source;

pub(crate) use aggregate::group_spec;

use crate::binder::BoundInsert;
use crate::config::PlannerConfig;
use crate::error::{SqlError, SqlResult, Step};
use crate::expr::{EvalContext, Expr, Notation};
use crate::nodes::{CalcSpec, CorrelateUnnestSpec, ExpandSpec, VERSION, ValuesSpec, WindowTableFunctionSpec, kind};
use crate::rel::{Changelog, ModifyKinds, Rel, RelField, RelOp, TimeKind, names_of, sets_text, window_text};
use describe::{calc_description, time_attribute};
use flott_core::{Field, Options};
pub use flott_runtime::registry::{TABLE_SCAN as SCAN_KIND, TABLE_SINK as SINK_KIND};

use flott_plan::{Chaining, Edge, Node, NodeId, Partitioning, Plan, Role};
use serde::Serialize;
use skeleton::Skeleton;

/// A job's plan and what EXPLAIN tells besides.
#[derive(Debug, Clone)]
pub struct PlannedJob {
    /// The plan.
    pub plan: Plan,
    /// Changelog of each node's output, by node.
    pub changelogs: Vec<Changelog>,
    /// The relations as bound, for the abstract syntax tree.
    pub bound: Vec<BoundInsert>,
    /// The relations after the rules.
    pub optimized: Vec<Rel>,
}

/// Plans inserts as one job.
///
/// # Errors
/// If an option is wrong or a node cannot run.
pub fn plan(inserts: Vec<BoundInsert>, options: &Options) -> SqlResult<PlannedJob> {
    let config = PlannerConfig::of(options)?;
    let roots = inserts.iter().map(|i| i.rel.clone()).collect();
    let context = EvalContext {
        time_zone: config
            .time_zone
            .parse()
            .map_err(|e: String| SqlError::new(Step::Option, format!("'table.local-time-zone': {e}")))?,
        ..EvalContext::default()
    };
    let optimized = crate::rules::optimize(roots, &context, &config)?;
    let name = config.name.clone().unwrap_or_else(|| job_name(&inserts));
    let mut planner = Planner {
        plan: Plan::new(name, options.clone()),
        changelogs: vec![],
        config,
        skeleton: Skeleton::default(),
        planned: vec![],
        scans: vec![],
        next_exec_id: 1,
    };
    for (insert, rel) in inserts.iter().zip(&optimized) {
        planner.sink(insert, rel)?;
    }
    planner
        .plan
        .validate()
        .map_err(|e| SqlError::new(Step::Plan, e.to_string()))?;
    Ok(PlannedJob {
        plan: planner.plan,
        changelogs: planner.changelogs,
        bound: inserts,
        optimized,
    })
}

/// `insert-into_<sink>`, with all sinks of a set, as Flink names a job.
fn job_name(inserts: &[BoundInsert]) -> String {
    match inserts {
        [one] if one.table.connector() == crate::script::COLLECT => "collect".to_owned(),
        _ => {
            let sinks: Vec<&str> = inserts.iter().map(|i| i.table.name.as_str()).collect();
            format!("insert-into_{}", sinks.join(","))
        }
    }
}

/// Whether a reader needs the old content of updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// It does: -U before +U.
    UpdateBefore,
    /// +U alone will do.
    UpdateAfter,
}

/// A planned relation: its node and what flows out of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// The nodes whose outputs together are the relation; more than one is a union.
    node: NodeId,
    changelog: Changelog,
}

/// A relation that may be the union of several nodes.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    outputs: Vec<Output>,
}

impl Stream {
    fn one(output: Output) -> Self {
        Self { outputs: vec![output] }
    }

    /// What flows, all nodes together.
    fn changelog(&self) -> Changelog {
        let kinds = self.outputs.iter().fold(ModifyKinds::APPEND, |k, o| ModifyKinds {
            update: k.update || o.changelog.kinds.update,
            delete: k.delete || o.changelog.kinds.delete,
        });
        Changelog {
            kinds,
            update_before: self.outputs.iter().any(|o| o.changelog.update_before),
        }
    }

    /// Whether other kinds than +I may flow.
    fn retracts(&self) -> bool {
        !self.changelog().kinds.is_append()
    }
}

/// A node to be added.
pub(crate) struct NewNode<'a> {
    kind: &'a str,
    /// Short name without the number, e.g. `Calc`.
    name: &'a str,
    description: String,
    role: Role,
    id: flott_core::OperatorId,
    parallelism: usize,
    output: Vec<Field>,
}

pub(crate) struct Planner {
    plan: Plan,
    changelogs: Vec<Changelog>,
    config: PlannerConfig,
    skeleton: Skeleton,
    /// Relations planned so far, each with the need that it was planned for.
    planned: Vec<(Rel, Need, Stream)>,
    /// Scans planned so far: what their readers need makes no difference to them.
    scans: Vec<(Rel, Stream)>,
    next_exec_id: usize,
}

impl Planner {
    fn exec_id(&mut self) -> usize {
        let id = self.next_exec_id;
        self.next_exec_id += 1;
        id
    }

    /// Adds a node with the number of a new exec node in its name.
    fn add<S: Serialize>(&mut self, new: NewNode<'_>, spec: &S, changelog: Changelog) -> SqlResult<NodeId> {
        let exec_id = self.exec_id();
        let name = format!("{}[{exec_id}]", new.name);
        self.add_named(new, name, spec, changelog)
    }

    fn add_named<S: Serialize>(
        &mut self,
        new: NewNode<'_>,
        name: String,
        spec: &S,
        changelog: Changelog,
    ) -> SqlResult<NodeId> {
        let spec = serde_json::to_value(spec)
            .map_err(|e| SqlError::new(Step::Plan, format!("'{name}' cannot be written: {e}")))?;
        let id = self.plan.nodes.len();
        self.plan.nodes.push(Node {
            id,
            operator_id: new.id,
            uid: None,
            kind: new.kind.to_owned(),
            version: VERSION,
            name,
            description: new.description,
            role: new.role,
            parallelism: new.parallelism,
            fixed_parallelism: false,
            max_parallelism: self.config.max_parallelism_of(new.parallelism),
            chaining: Chaining::Always,
            slot_sharing_group: None,
            output: new.output,
            spec,
        });
        self.changelogs.push(changelog);
        Ok(id)
    }

    fn parallelism_of(&self, stream: &Stream) -> usize {
        stream
            .outputs
            .iter()
            .map(|o| self.plan.nodes[o.node].parallelism)
            .max()
            .unwrap_or(1)
    }

    /// Connects a stream to a node: forward where the parallelism is equal.
    fn connect(&mut self, from: &Stream, to: NodeId) {
        for output in &from.outputs {
            let equal = self.plan.nodes[output.node].parallelism == self.plan.nodes[to].parallelism;
            let partitioning = match equal {
                true => Partitioning::Forward,
                false => Partitioning::Rebalance,
            };
            self.edge(output.node, to, partitioning);
        }
    }

    /// Connects a stream to a node through an exchange.
    fn exchange(&mut self, from: &Stream, to: NodeId, partitioning: &Partitioning) {
        for output in &from.outputs {
            self.edge(output.node, to, partitioning.clone());
        }
    }

    fn edge(&mut self, from: NodeId, to: NodeId, partitioning: Partitioning) {
        self.plan.edges.push(Edge {
            from,
            to,
            input: 0,
            output: 0,
            partitioning,
        });
    }

    /// Plans a relation, or finds the nodes that it was planned to already.
    fn relation(&mut self, rel: &Rel, need: Need) -> SqlResult<Stream> {
        if let Some((_, _, stream)) = self.planned.iter().find(|(r, n, _)| *n == need && r.op == rel.op) {
            return Ok(stream.clone());
        }
        let stream = self.new_relation(rel, need)?;
        self.planned.push((rel.clone(), need, stream.clone()));
        Ok(stream)
    }

    fn new_relation(&mut self, rel: &Rel, need: Need) -> SqlResult<Stream> {
        match &rel.op {
            RelOp::Scan(scan) => self.source(scan, rel, need),
            RelOp::Values(rows) => {
                let id = self.skeleton.stateless("values");
                let new = NewNode {
                    kind: kind::VALUES,
                    name: "Source: Values",
                    description: format!("Values(tuples=[{} rows])", rows.len()),
                    role: Role::Source,
                    id,
                    parallelism: 1,
                    output: rel.schema(),
                };
                let spec = ValuesSpec {
                    fields: rel.schema(),
                    rows: rows.clone(),
                };
                let changelog = append();
                let node = self.add(new, &spec, changelog)?;
                Ok(Stream::one(Output { node, changelog }))
            }
            RelOp::Calc {
                input,
                projection,
                condition,
            } => self.calc(rel, input, projection, condition.as_ref(), need),
            RelOp::Union { inputs } => {
                let mut outputs = vec![];
                for input in inputs {
                    outputs.extend(self.relation(input, need)?.outputs);
                }
                Ok(Stream { outputs })
            }
            RelOp::Unnest { .. } => self.unnest(rel, need),
            RelOp::WindowTvf {
                input,
                window,
                time_column,
                partition,
                ..
            } => {
                let names = field_names(&input.fields);
                let partition_names: Vec<String> = partition.iter().map(|&p| names[p].clone()).collect();
                let id = match window.is_session() {
                    true => self.skeleton.stateful("session-rows", &partition_names),
                    false => self.skeleton.stateless(kind::WINDOW_TABLE_FUNCTION),
                };
                let stream = self.relation(input, need)?;
                let time = match input.fields[*time_column].time {
                    Some(TimeKind::Proctime) => crate::nodes::TimeAttribute::ProcessingTime,
                    _ => crate::nodes::TimeAttribute::EventTime { column: *time_column },
                };
                let spec = WindowTableFunctionSpec {
                    input: input.schema(),
                    window: *window,
                    time,
                    partition: partition.clone(),
                    time_zone: self.config.time_zone.clone(),
                };
                let new = NewNode {
                    kind: kind::WINDOW_TABLE_FUNCTION,
                    name: "WindowTableFunction",
                    description: format!(
                        "WindowTableFunction(window=[{}])",
                        window_text(
                            window,
                            &time_attribute(&input.fields[*time_column].name),
                            &partition_names.join(", ")
                        )
                    ),
                    role: Role::Operator,
                    id,
                    parallelism: self.parallelism_of(&stream),
                    output: spec.output(),
                };
                match window.is_session() {
                    true => self.session_rows(new, &spec, stream),
                    false => self.one_input(new, &spec, stream),
                }
            }
            RelOp::Expand { input, keys, sets } => {
                let id = self.skeleton.stateless(kind::EXPAND);
                let stream = self.relation(input, need)?;
                let spec = ExpandSpec {
                    input: input.schema(),
                    keys: keys.clone(),
                    sets: sets.clone(),
                };
                let new = NewNode {
                    kind: kind::EXPAND,
                    name: "Expand",
                    description: format!("Expand(projects=[{}])", sets_text(keys, sets, &names_of(input))),
                    role: Role::Operator,
                    id,
                    parallelism: self.parallelism_of(&stream),
                    output: spec.output(),
                };
                self.one_input(new, &spec, stream)
            }
            RelOp::Aggregate { input, keys, calls } => self.group_aggregate(rel, input, keys, calls, need),
            RelOp::WindowAggregate(window) => self.window_aggregate(rel, window, need),
            RelOp::Over(over) => self.over_aggregate(rel, over, need),
            RelOp::Sort(sort) => self.sort(rel, sort, need),
        }
    }

    /// Adds a node behind a stream that it passes on in kind.
    fn one_input<S: Serialize>(&mut self, new: NewNode<'_>, spec: &S, stream: Stream) -> SqlResult<Stream> {
        let changelog = stream.changelog();
        let node = self.add(new, spec, changelog)?;
        self.connect(&stream, node);
        Ok(Stream::one(Output { node, changelog }))
    }

    /// Adds a node that keeps rows until their session has ended.
    fn session_rows(&mut self, new: NewNode<'_>, spec: &WindowTableFunctionSpec, stream: Stream) -> SqlResult<Stream> {
        if stream.retracts() {
            return Err(SqlError::new(
                Step::Unsupported,
                "the window function SESSION takes rows that are never updated, as in Flink, but its input has updates",
            )
            .remedy("group in sessions before the updates arise"));
        }
        let keys = spec.partition.clone();
        let (partitioning, parallelism) = match keys.is_empty() {
            true => (Partitioning::Global, 1),
            false => (Partitioning::Hash { keys }, self.config.parallelism),
        };
        // The exchange has a number of its own, as in Flink.
        self.exec_id();
        let changelog = append();
        let node = self.add(NewNode { parallelism, ..new }, spec, changelog)?;
        self.exchange(&stream, node, &partitioning);
        Ok(Stream::one(Output { node, changelog }))
    }

    fn calc(
        &mut self,
        rel: &Rel,
        input: &Rel,
        projection: &[Expr],
        condition: Option<&Expr>,
        need: Need,
    ) -> SqlResult<Stream> {
        let id = self.skeleton.stateless(kind::CALC);
        // A condition on changing rows must see what they were: +U may not pass where -U did not have to go.
        let below = match condition {
            Some(_) => Need::UpdateBefore,
            None => need,
        };
        let stream = self.relation(input, below)?;
        let spec = CalcSpec {
            projection: projection.to_vec(),
            condition: condition.cloned(),
            time_zone: self.config.time_zone.clone(),
        };
        let new = NewNode {
            kind: kind::CALC,
            name: "Calc",
            description: calc_description(rel, input, projection, condition),
            role: Role::Operator,
            id,
            parallelism: self.parallelism_of(&stream),
            output: rel.schema(),
        };
        let changelog = Changelog {
            kinds: ModifyKinds::of(rel),
            ..stream.changelog()
        };
        let node = self.add(new, &spec, changelog)?;
        self.connect(&stream, node);
        Ok(Stream::one(Output { node, changelog }))
    }

    fn unnest(&mut self, rel: &Rel, need: Need) -> SqlResult<Stream> {
        let RelOp::Unnest {
            input,
            collection,
            join,
            ordinality,
            keep,
            names,
        } = &rel.op
        else {
            return Err(SqlError::new(Step::Plan, "an UNNEST was expected"));
        };
        let id = self.skeleton.stateless(kind::CORRELATE);
        let stream = self.relation(input, need)?;
        let spec = CorrelateUnnestSpec {
            input: input.schema(),
            collection: collection.clone(),
            join: *join,
            ordinality: *ordinality,
            keep: keep.clone(),
            names: names.clone(),
            time_zone: self.config.time_zone.clone(),
        };
        let text = collection.explain(&names_of(input), Notation::Prefix).to_string();
        let new = NewNode {
            kind: kind::CORRELATE,
            name: "Correlate",
            description: format!(
                "Correlate(invocation=[UNNEST({text})], select=[{}])",
                names_of(rel).join(", ")
            ),
            role: Role::Operator,
            id,
            parallelism: self.parallelism_of(&stream),
            output: spec.output(),
        };
        self.one_input(new, &spec, stream)
    }
}

/// Inserts only.
fn append() -> Changelog {
    Changelog {
        kinds: ModifyKinds::APPEND,
        update_before: false,
    }
}

/// Names of fields.
fn field_names(fields: &[RelField]) -> Vec<String> {
    fields.iter().map(|f| f.name.clone()).collect()
}
