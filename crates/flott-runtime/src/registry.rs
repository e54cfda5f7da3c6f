//! Where kinds of nodes find their factories: filled once by whoever joins the rooms, read by planners and tasks.

use crate::connector::{ScanSpec, Sink, SinkSpec, Source, TableConnector, WatermarkGenerator, WatermarkSpec};
use crate::error::TaskError;
use crate::exchange::RowsForm;
use crate::operator::Operator;
use flott_core::clock::SharedClock;
use flott_core::rows::DecodeRows;
use flott_core::{Field, Options, suggest};
use flott_plan::Node;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

/// Kind of a node whose spec is a [`ScanSpec`]: its connector makes the source.
pub const TABLE_SCAN: &str = "stream-exec-table-source-scan";

/// Kind of a node whose spec is a [`SinkSpec`]: its connector makes the sink.
pub const TABLE_SINK: &str = "stream-exec-sink";

/// What a factory may look at besides its node.
#[derive(Debug, Clone)]
pub struct FactoryContext {
    /// Options of the job.
    pub options: Arc<Options>,
    /// Columns of each logical input.
    pub inputs: Vec<Vec<Field>>,
    /// Processing time.
    pub clock: SharedClock,
}

type OperatorFactory = Arc<dyn Fn(&Node, &FactoryContext) -> Result<Box<dyn Operator>, TaskError> + Send + Sync>;
type SourceFactory = Arc<dyn Fn(&Node, &FactoryContext) -> Result<Box<dyn Source>, TaskError> + Send + Sync>;
type SinkFactory = Arc<dyn Fn(&Node) -> Result<Box<dyn Sink>, TaskError> + Send + Sync>;
type WatermarkFactory =
    Arc<dyn Fn(&WatermarkSpec, &FactoryContext) -> Result<Box<dyn WatermarkGenerator>, TaskError> + Send + Sync>;

/// Factories by kind, connectors by name.
#[derive(Clone, Default)]
pub struct Registry {
    operators: HashMap<String, OperatorFactory>,
    sources: HashMap<String, SourceFactory>,
    watermarks: HashMap<String, WatermarkFactory>,
    connectors: BTreeMap<String, Arc<dyn TableConnector>>,
    sinks: HashMap<String, SinkFactory>,
    typed: HashMap<(String, usize), DecodeRows>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: Vec<&String> = self.operators.keys().collect();
        kinds.sort();
        f.debug_struct("Registry")
            .field("operators", &kinds)
            .field("connectors", &self.connectors.keys())
            .finish()
    }
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers the factory of an operator kind.
    pub fn operator<F>(&mut self, kind: &str, factory: F)
    where
        F: Fn(&Node, &FactoryContext) -> Result<Box<dyn Operator>, TaskError> + Send + Sync + 'static,
    {
        self.operators.insert(kind.to_owned(), Arc::new(factory));
    }

    /// Registers the factory of a source kind that is no table scan. Its spec may hold a [`WatermarkSpec`] as `watermark`.
    pub fn source<F>(&mut self, kind: &str, factory: F)
    where
        F: Fn(&Node, &FactoryContext) -> Result<Box<dyn Source>, TaskError> + Send + Sync + 'static,
    {
        self.sources.insert(kind.to_owned(), Arc::new(factory));
    }

    /// Registers the factory of a sink kind that is no table sink.
    pub fn sink<F>(&mut self, kind: &str, factory: F)
    where
        F: Fn(&Node) -> Result<Box<dyn Sink>, TaskError> + Send + Sync + 'static,
    {
        self.sinks.insert(kind.to_owned(), Arc::new(factory));
    }

    /// Says that an output (0: the main one) of a node kind has typed rows, which `read` decodes.
    pub fn typed(&mut self, kind: &str, output: usize, read: DecodeRows) {
        self.typed.insert((kind.to_owned(), output), read);
    }

    /// Form of the rows of a node's output.
    pub fn rows_form(&self, node: &Node, output: usize) -> RowsForm {
        match self.typed.get(&(node.kind.clone(), output)) {
            Some(read) => RowsForm::Typed(*read),
            None => RowsForm::Columns(node.output.iter().map(|f| f.ty.to_arrow()).collect()),
        }
    }

    /// Registers the factory of a watermark generator.
    pub fn watermark<F>(&mut self, kind: &str, factory: F)
    where
        F: Fn(&WatermarkSpec, &FactoryContext) -> Result<Box<dyn WatermarkGenerator>, TaskError>
            + Send
            + Sync
            + 'static,
    {
        self.watermarks.insert(kind.to_owned(), Arc::new(factory));
    }

    /// Registers a table connector.
    pub fn connector(&mut self, connector: impl TableConnector + 'static) {
        self.connectors
            .insert(connector.identifier().to_owned(), Arc::new(connector));
    }

    /// Makes the operator of a node.
    ///
    /// # Errors
    /// If the kind is unknown or its factory refuses.
    pub fn make_operator(&self, node: &Node, ctx: &FactoryContext) -> Result<Box<dyn Operator>, TaskError> {
        let factory = self.operators.get(&node.kind).ok_or_else(|| unknown_kind(node))?;
        factory(node, ctx)
    }

    /// Makes the source of a node, and the watermark that it asks for.
    ///
    /// # Errors
    /// If the kind or connector is unknown or refuses.
    pub fn make_source(
        &self,
        node: &Node,
        ctx: &FactoryContext,
    ) -> Result<(Box<dyn Source>, Option<WatermarkSpec>), TaskError> {
        if node.kind == TABLE_SCAN {
            let scan: ScanSpec = read_spec(node)?;
            let connector = self
                .find_connector(scan.table.connector())
                .map_err(|e| TaskError::user(e).fatal())?;
            return Ok((connector.source_in(&scan, &ctx.options)?, scan.watermark));
        }
        let factory = self.sources.get(&node.kind).ok_or_else(|| unknown_kind(node))?;
        Ok((factory(node, ctx)?, watermark_of(node)?))
    }

    /// Makes the sink of a node.
    ///
    /// # Errors
    /// If the kind or connector is unknown or refuses.
    pub fn make_sink(&self, node: &Node) -> Result<Box<dyn Sink>, TaskError> {
        if node.kind != TABLE_SINK {
            let factory = self.sinks.get(&node.kind).ok_or_else(|| unknown_kind(node))?;
            return factory(node);
        }
        let sink: SinkSpec = read_spec(node)?;
        let connector = self
            .find_connector(sink.table.connector())
            .map_err(|e| TaskError::user(e).fatal())?;
        Ok(connector.sink(&sink)?)
    }

    /// Makes a watermark generator.
    ///
    /// # Errors
    /// If the kind is unknown or its factory refuses.
    pub fn make_watermark(
        &self,
        spec: &WatermarkSpec,
        ctx: &FactoryContext,
    ) -> Result<Box<dyn WatermarkGenerator>, TaskError> {
        let factory = self.watermarks.get(&spec.kind).ok_or_else(|| {
            TaskError::user(format!(
                "no watermark generator of kind '{}' is known to this build",
                spec.kind
            ))
            .fatal()
        })?;
        factory(spec, ctx)
    }

    /// The connector of this name.
    ///
    /// # Errors
    /// A message that names the nearest and all known ones.
    pub fn find_connector(&self, name: &str) -> Result<&Arc<dyn TableConnector>, String> {
        self.connectors.get(name).ok_or_else(|| {
            let hint = suggest::hint(name, self.connectors.keys().map(String::as_str));
            let known: Vec<&str> = self.connectors.keys().map(String::as_str).collect();
            format!("unknown connector '{name}'{hint} (known: {})", known.join(", "))
        })
    }
}

/// The watermark that a source's node asks for.
///
/// # Errors
/// If its spec cannot be read.
pub fn watermark_of(node: &Node) -> Result<Option<WatermarkSpec>, TaskError> {
    #[derive(serde::Deserialize)]
    struct Timed {
        watermark: WatermarkSpec,
    }
    if node.kind == TABLE_SCAN {
        return Ok(read_spec::<ScanSpec>(node)?.watermark);
    }
    match node.spec.get("watermark") {
        Some(_) => Ok(Some(read_spec::<Timed>(node)?.watermark)),
        None => Ok(None),
    }
}

fn unknown_kind(node: &Node) -> TaskError {
    TaskError::user(format!(
        "'{}': no operator of kind '{}' version {} is known to this build; use the build that made the plan",
        node.name, node.kind, node.version
    ))
    .fatal()
}

/// Reads a node's JSON.
///
/// # Errors
/// If it does not have the form of `T`.
pub fn read_spec<T: serde::de::DeserializeOwned>(node: &Node) -> Result<T, TaskError> {
    serde_json::from_value(node.spec.clone()).map_err(|e| {
        TaskError::caused(
            crate::FailureLabel::Internal,
            format!("the plan of '{}' cannot be read", node.name),
            e,
        )
        .fatal()
    })
}
