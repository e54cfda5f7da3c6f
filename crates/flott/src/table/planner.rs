//! [`Tables`]: the session of a program, and the planner of what lies between its streams.
//!
//! A stream is a table whose scan becomes an operator over the stream; a query that a program reads as a stream is a sink in whose place the program's
//! own operator stands. Everything that a job needs is planned at once, so queries share what they have in common.
//!
//! What is shared has the identity of the first that needs it, so the order of planning says whose state stays where it is when a program changes:
//! first the queries of streams with a uid, then the statements, whose tables have names, then the queries of all other streams.

use super::convert::Watermarks;
use super::watermarks::Pacing;
use flott_core::Options;
use flott_datastream::BoxError;
use flott_datastream::planned::{Inlet, Outlet, Part, Planner, StreamRef, Wanted};
use flott_plan::{Edge, Node, NodeId, Partitioning, Role};
use flott_runtime::connector::{
    Boundedness, ChangelogMode, ConnectorError, MetadataKey, ScanSpec, Sink, SinkSpec, Source, TableConnector,
    TableInfo, TableSpec, WatermarkSpec,
};
use flott_runtime::registry::{FactoryContext, read_spec};
use flott_runtime::{Operator, Registry, TaskError};
use flott_sql::Session;
use flott_sql::binder::{BoundInsert, ROWTIME, STREAM};
use flott_sql::physical::{PlannedJob, SCAN_KIND, SINK_KIND};
use flott_sql::rel::{Rel, RelOp};
use flott_sql::script::plan_inserts;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Option of a stream's table: its number.
pub(super) const STREAM_NUMBER: &str = "stream";
/// Option of a stream's table: which row kinds it takes.
pub(super) const CHANGELOG: &str = "changelog-mode";
const RUNTIME_MODE: &str = "execution.runtime-mode";
/// Option of a stream that is written to: its place among those that the job reads.
const OUTLET: &str = "outlet";

/// The values of [`CHANGELOG`].
const CHANGELOGS: [(&str, ChangelogMode); 3] = [
    ("I", ChangelogMode::Append),
    ("I,UA,D", ChangelogMode::Upsert),
    ("I,UB,UA,D", ChangelogMode::Retract),
];

pub(super) fn changelog_text(mode: ChangelogMode) -> String {
    let found = CHANGELOGS.iter().find(|(_, m)| *m == mode);
    found.map_or("I", |(text, _)| text).to_owned()
}

/// Makes the operator of a scan.
pub(super) type MakeInlet = Arc<dyn Fn(&ScanSpec, Watermarks) -> Result<Box<dyn Operator>, TaskError> + Send + Sync>;

/// A stream that is a table.
pub(super) struct StreamTable {
    pub(super) stream: StreamRef,
    pub(super) make: MakeInlet,
    /// The program gave it a name.
    pub(super) is_named: bool,
    /// Row kinds that it takes.
    pub(super) changelog: ChangelogMode,
}

/// Everything that SQL knows of a program.
pub(super) struct Tables {
    pub(super) session: RefCell<Session>,
    /// What the session began with: options that differ were set by its statements.
    pub(super) initial: Options,
    pub(super) streams: RefCell<Vec<StreamTable>>,
    pub(super) outlets: RefCell<HashMap<Outlet, BoundInsert>>,
    pub(super) statements: RefCell<HashMap<usize, Vec<BoundInsert>>>,
    /// Tables without a name of their own so far.
    pub(super) unnamed: RefCell<usize>,
}

impl Tables {
    pub(super) fn new(mut options: Options) -> Self {
        let mut registry = crate::registry();
        registry.connector(StreamConnector);
        if options
            .get(RUNTIME_MODE)
            .is_some_and(|mode| mode.eq_ignore_ascii_case("AUTOMATIC"))
        {
            // Jobs with SQL run as streams then, and the session need not know that another mode was possible.
            options.set(RUNTIME_MODE, "STREAMING");
        }
        Self {
            session: RefCell::new(Session::new(Arc::new(registry), options.clone())),
            initial: options,
            streams: RefCell::default(),
            outlets: RefCell::default(),
            statements: RefCell::default(),
            unnamed: RefCell::default(),
        }
    }

    /// The options of a job: the program's, and those that statements have set.
    fn options(&self, program: &Options) -> Options {
        let mut options = program.clone();
        let session = self.session.borrow();
        for (key, value) in session.options().iter() {
            if self.initial.get(key) != Some(value) {
                options.set(key, value);
            }
        }
        options
    }

    /// A query whose scans of streams have the parallelism of their streams.
    fn placed(&self, rel: Rel, wanted: &Wanted<'_>) -> Rel {
        let Rel { op, fields } = rel;
        match op {
            RelOp::Scan(mut scan) => {
                let streams = self.streams.borrow();
                if let Some(table) = number_of(&scan.options).and_then(|n| streams.get(n)) {
                    let parallelism = wanted.parallelism_of(&table.stream);
                    scan.options.set("scan.parallelism", parallelism.to_string());
                }
                Rel {
                    op: RelOp::Scan(scan),
                    fields,
                }
            }
            op => Rel { op, fields }.map_inputs(&mut |input| self.placed(input, wanted)),
        }
    }

    /// The tables that a query reads, as a part of a name: those that have none of their own are all `stream`, since their numbers change with the
    /// program.
    fn tables_of(&self, rel: &Rel) -> String {
        let streams = self.streams.borrow();
        let mut names = BTreeSet::new();
        let mut open = vec![rel];
        while let Some(rel) = open.pop() {
            open.extend(rel.inputs());
            if let RelOp::Scan(scan) = &rel.op {
                let stream = number_of(&scan.options).and_then(|n| streams.get(n));
                let is_named = stream.is_none_or(|stream| stream.is_named);
                names.insert(if is_named {
                    scan.table.spec.short_name()
                } else {
                    "stream"
                });
            }
        }
        names.into_iter().collect::<Vec<_>>().join("+")
    }

    /// What a job plans, in the order that the module describes.
    fn inserts(&self, wanted: &Wanted<'_>) -> Result<Vec<BoundInsert>, BoxError> {
        let outlets = self.outlets.borrow();
        let (mut inserts, mut unnamed) = (vec![], vec![]);
        let mut numbers: HashMap<String, usize> = HashMap::new();
        for (place, outlet) in wanted.outlets.iter().enumerate() {
            let insert = outlets
                .get(&outlet.outlet)
                .ok_or("a stream is read that no table was made to")?;
            let mut insert = insert.clone();
            insert.table.options.set(OUTLET, place.to_string());
            if let Some(parallelism) = outlet.parallelism {
                insert.table.options.set("sink.parallelism", parallelism.to_string());
            }
            if let Some(uid) = &outlet.uid {
                insert.table.name = format!("*{uid}*");
                inserts.push(insert);
                continue;
            }
            let name = format!("{}/{}", insert.table.name, self.tables_of(&insert.rel));
            let number = numbers.entry(name.clone()).or_default();
            *number += 1;
            insert.table.name = format!("{name}${number}*");
            unnamed.push(insert);
        }
        let statements = self.statements.borrow();
        let attached = wanted.statements.iter().filter_map(|n| statements.get(n));
        inserts.extend(attached.flatten().cloned());
        inserts.append(&mut unnamed);
        for insert in &mut inserts {
            insert.rel = self.placed(insert.rel.clone(), wanted);
        }
        Ok(inserts)
    }
}

impl Planner for Tables {
    fn plan(&self, wanted: &Wanted<'_>) -> Result<Part, BoxError> {
        let options = self.options(wanted.options);
        let mut job = plan_inserts(self.inserts(wanted)?, &options)?;
        let streams = self.streams.borrow();
        let (mut inlets, mut outlets) = (vec![], vec![]);
        let mut asked: HashMap<NodeId, Option<usize>> = HashMap::new();
        let mut made: BTreeMap<String, MakeInlet> = BTreeMap::new();
        for (id, node) in job.plan.nodes.iter_mut().enumerate() {
            if node.kind == SCAN_KIND {
                let scan: ScanSpec = read_spec(node)?;
                let number = number_of(&scan.table.options).filter(|_| scan.table.connector() == STREAM);
                if let Some((number, table)) = number.and_then(|n| Some((n, streams.get(n)?))) {
                    node.kind = format!("data-stream-scan#{number}");
                    node.name = node.name.replacen("Source: ", "Stream to Table: ", 1);
                    node.role = Role::Operator;
                    made.insert(node.kind.clone(), table.make.clone());
                    inlets.push(Inlet {
                        node: id,
                        stream: table.stream.clone(),
                        is_ordered: table.changelog != ChangelogMode::Append,
                    });
                }
            } else if node.kind == SINK_KIND {
                let sink: SinkSpec = read_spec(node)?;
                let place = sink
                    .table
                    .options
                    .get(OUTLET)
                    .and_then(|place| place.parse::<usize>().ok());
                let place = place.filter(|_| sink.table.connector() == STREAM);
                if let Some(outlet) = place.and_then(|place| wanted.outlets.get(place)) {
                    outlets.push((id, outlet.outlet));
                    asked.insert(id, outlet.parallelism);
                }
            }
        }
        let register = move |registry: &mut Registry| {
            for (kind, make) in &made {
                let (make, generators) = (make.clone(), registry.clone());
                registry.operator(kind, move |node, ctx| inlet(node, ctx, &make, &generators));
            }
        };
        Ok(Part {
            refused: check_order(&job, &asked).err(),
            plan: job.plan,
            inlets,
            outlets,
            register: Arc::new(register),
        })
    }
}

/// Changes of one row must not overtake each other on their way to an operator of another parallelism. `outlets` are the sinks that are streams,
/// each with the parallelism that was asked of it; how a table of the catalog is written to is said by its own options.
fn check_order(job: &PlannedJob, outlets: &HashMap<NodeId, Option<usize>>) -> Result<(), BoxError> {
    let nodes = &job.plan.nodes;
    let is_broken = |edge: &&Edge| {
        let is_checked = nodes[edge.to].role != Role::Sink || outlets.contains_key(&edge.to);
        let is_spread = edge.partitioning == Partitioning::Rebalance && nodes[edge.to].parallelism > 1;
        is_spread && is_checked && !job.changelogs[edge.from].kinds.is_append()
    };
    let Some(edge) = job.plan.edges.iter().find(is_broken) else {
        return Ok(());
    };
    Err(match outlets.get(&edge.to) {
        Some(Some(parallelism)) => format!(
            "set_parallelism({parallelism}) of a stream of changes would let the changes of a row overtake each other: leave it out, or \
             give to_changelog_stream_with a schema with a primary key, by which rows are spread then"
        ),
        Some(None) | None => format!(
            "a query unites '{}', changes with a parallelism of {}, with rows of a parallelism of {}: the changes of a row would overtake \
             each other, so give the streams that it reads one parallelism (set_parallelism)",
            nodes[edge.from].name, nodes[edge.from].parallelism, nodes[edge.to].parallelism
        ),
    }
    .into())
}

fn number_of(options: &Options) -> Option<usize> {
    options.get(STREAM_NUMBER)?.parse().ok()
}

fn inlet(
    node: &Node,
    ctx: &FactoryContext,
    make: &MakeInlet,
    generators: &Registry,
) -> Result<Box<dyn Operator>, TaskError> {
    let scan: ScanSpec = read_spec(node)?;
    let watermarks = match &scan.watermark {
        None => Watermarks::None,
        Some(spec) if is_of_stream(spec) => Watermarks::OfStream,
        Some(spec) => {
            let ctx = FactoryContext {
                inputs: vec![node.output.clone()],
                ..ctx.clone()
            };
            let pacing = Pacing::new(spec.on_event, spec.idle_timeout_ms);
            Watermarks::Said(generators.make_watermark(spec, &ctx)?, pacing)
        }
    };
    make(&scan, watermarks)
}

fn is_of_stream(spec: &WatermarkSpec) -> bool {
    let spec: Result<flott_sql::nodes::WatermarkExpressionSpec, _> = serde_json::from_value(spec.spec.clone());
    spec.is_ok_and(|spec| flott_sql::binder::is_source_watermark(&spec.expression))
}

/// The connector of tables that are streams: it says what they can do, and makes nothing.
struct StreamConnector;

impl StreamConnector {
    fn nowhere<T>() -> Result<T, ConnectorError> {
        Err(ConnectorError::Option(format!(
            "a table with 'connector' = '{STREAM}' exists in the program that made it"
        )))
    }
}

impl TableConnector for StreamConnector {
    fn identifier(&self) -> &'static str {
        STREAM
    }

    fn check_source(&self, table: &TableSpec) -> Result<TableInfo, ConnectorError> {
        let Some(_) = number_of(&table.options) else {
            return Err(ConnectorError::Option(
                "streams become tables by create_temporary_view and from_data_stream of the program, not by CREATE TABLE".to_owned(),
            ));
        };
        let changelog = table.options.get(CHANGELOG);
        let changelog = CHANGELOGS.iter().find(|(text, _)| Some(*text) == changelog);
        Ok(TableInfo {
            changelog: changelog.map_or(ChangelogMode::Append, |(_, mode)| *mode),
            boundedness: Boundedness::Unbounded,
            metadata: vec![MetadataKey {
                key: ROWTIME.to_owned(),
                ty: flott_core::LogicalType::new(flott_core::TypeKind::TimestampLtz(3)),
                writable: false,
            }],
            splits_may_idle: false,
            warnings: vec![],
        })
    }

    fn check_sink(&self, table: &TableSpec, _job: &Options) -> Result<TableInfo, ConnectorError> {
        Err(ConnectorError::Option(format!(
            "'{}' is a stream of the program, which a table is not written to: read the query as a stream (to_data_stream)",
            table.short_name()
        )))
    }

    fn source(&self, _scan: &ScanSpec) -> Result<Box<dyn Source>, ConnectorError> {
        Self::nowhere()
    }

    fn sink(&self, _sink: &SinkSpec) -> Result<Box<dyn Sink>, ConnectorError> {
        Self::nowhere()
    }
}
