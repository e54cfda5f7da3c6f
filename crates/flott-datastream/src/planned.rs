//! Parts of a job that somebody else plans: SQL over the program's streams.
//!
//! ```text
//!  stream ──inlet──► nodes of the part ──outlet──► stream
//! ```
//! A program's calls are nodes at once; a part has its nodes when the job is planned, since then all settings are known, and what several outlets
//! have in common can be planned once. [`Planner::plan`] is given the outlets that the job reads and the statements attached to it, and answers with a
//! [`Part`]: a plan in which some nodes read streams (inlets: operators, columns out of typed records) and some sinks are outlets (operators of the
//! program, typed records out of columns). The graph joins both into one plan: one job, one checkpoint.

use crate::environment::{ExecuteError, StreamExecutionEnvironment};
use crate::function::BoxError;
use crate::graph::Origin;
use crate::operators::sink::Collect;
use crate::records::Data;
use crate::stream::DataStream;
use flott_core::Options;
use flott_plan::{NodeId, Plan};
use flott_runtime::Operator;
use std::any::Any;
use std::fmt;
use std::rc::Rc;

pub use crate::graph::Register;

/// An operator of the program whose input is planned by a [`Planner`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Outlet(pub(crate) NodeId);

/// A stream, whatever its type.
#[derive(Debug, Clone)]
pub struct StreamRef(pub(crate) Vec<Origin>);

/// An outlet that a job reads.
#[derive(Debug, Clone)]
pub struct WantedOutlet {
    /// Which.
    pub outlet: Outlet,
    /// Its uid, by which the state before it can be found.
    pub uid: Option<String>,
    /// Its parallelism, if the program says one; else it has that of its input.
    pub parallelism: Option<usize>,
}

/// What a job needs of a [`Planner`].
pub struct Wanted<'a> {
    /// Outlets, in the order in which the program made them.
    pub outlets: &'a [WantedOutlet],
    /// Numbers of statements, as [`StreamExecutionEnvironment::attach`] gave them.
    pub statements: &'a [usize],
    /// The job's options, with the program's parallelism in `parallelism.default`.
    pub options: &'a Options,
    pub(crate) parallelism_of: &'a dyn Fn(&StreamRef) -> usize,
}

impl fmt::Debug for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wanted")
            .field("outlets", &self.outlets)
            .field("statements", &self.statements)
            .finish_non_exhaustive()
    }
}

impl Wanted<'_> {
    /// How parallel the operator must be that reads a stream without an exchange; of a union, if all its streams are of one parallelism.
    pub fn parallelism_of(&self, stream: &StreamRef) -> usize {
        (self.parallelism_of)(stream)
    }
}

/// An operator of a [`Part`] that reads a stream of the program.
#[derive(Debug, Clone)]
pub struct Inlet {
    /// Its node, without inputs in [`Part::plan`].
    pub node: NodeId,
    /// What it reads.
    pub stream: StreamRef,
    /// Records must not overtake each other on their way to it: a union of streams of several parallelisms is refused.
    pub is_ordered: bool,
}

/// A planned part of a job.
pub struct Part {
    /// Its nodes, and the options of the whole job.
    pub plan: Plan,
    /// Its operators that read streams.
    pub inlets: Vec<Inlet>,
    /// Sinks in [`Self::plan`] in whose place an outlet stands.
    pub outlets: Vec<(NodeId, Outlet)>,
    /// Registers the factories that only this part has.
    pub register: Register,
    /// What is wrong with it. A part may be planned over again when more is known of how parallel its streams are, so only the last one counts.
    pub refused: Option<BoxError>,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("plan", &self.plan)
            .field("inlets", &self.inlets)
            .field("outlets", &self.outlets)
            .finish_non_exhaustive()
    }
}

impl Part {
    /// The program's node in whose place a sink of the part stands.
    pub(crate) fn place(&self, node: NodeId) -> Option<NodeId> {
        let mut outlets = self.outlets.iter();
        outlets.find(|(sink, _)| *sink == node).map(|(_, outlet)| outlet.0)
    }

    /// The sink that stands for a node of the program.
    pub(crate) fn sink_of(&self, node: NodeId) -> Option<&flott_plan::Node> {
        let mut outlets = self.outlets.iter();
        let found = outlets.find(|(_, outlet)| outlet.0 == node);
        found.map(|(sink, _)| &self.plan.nodes[*sink])
    }
}

/// Plans the parts of a program that are not described call by call. It may be asked several times about one job.
pub trait Planner: Any {
    /// Plans what lies before some outlets, and some statements.
    ///
    /// # Errors
    /// If it cannot be planned; the text is what the user is told.
    fn plan(&self, wanted: &Wanted<'_>) -> Result<Part, BoxError>;
}

impl StreamExecutionEnvironment {
    /// The planner of the program, which `make` makes if there is none; `None` if it has one of another type.
    pub fn planner<P: Planner>(&self, make: impl FnOnce() -> P) -> Option<Rc<P>> {
        let found = self.graph().borrow().planner.clone();
        match found {
            Some(planner) => {
                let planner: Rc<dyn Any> = planner;
                planner.downcast().ok()
            }
            None => {
                let planner = Rc::new(make());
                self.graph().borrow_mut().planner = Some(planner.clone());
                Some(planner)
            }
        }
    }

    /// Adds an operator that makes records of what the planner plans, and the stream of these records.
    pub fn outlet<T: Data>(
        &self,
        name: &str,
        make: impl Fn() -> Box<dyn Operator> + Send + Sync + 'static,
    ) -> (DataStream<T>, Outlet) {
        let origin = self.graph().borrow_mut().outlet::<T>("outlet", name, make);
        let outlet = Outlet(origin.node);
        (DataStream::new(self.clone(), vec![origin]), outlet)
    }

    /// Makes a statement of the planner part of the next job; its number.
    pub fn attach(&self) -> usize {
        self.graph().borrow_mut().attach()
    }

    /// Runs what `describe` describes, and all that it reads, as a job of its own; the job in the making stays as it was.
    ///
    /// # Errors
    /// Those of `describe`; if it is no job, or the job is refused or fails.
    pub fn execute_aside<R, E: From<ExecuteError>>(
        &self,
        job_name: &str,
        describe: impl FnOnce() -> Result<R, E>,
    ) -> Result<R, E> {
        let mark = self.graph().borrow().mark();
        let described = describe();
        let roots = self.graph().borrow_mut().set_aside(mark);
        let described = described?;
        self.execute_roots(job_name, roots)?;
        Ok(described)
    }

    /// The records of a stream that `describe` describes, whose job is run aside. A restart of the job would give some of them twice.
    ///
    /// # Errors
    /// As [`Self::execute_aside`].
    pub fn collect_aside<T: Data, E: From<ExecuteError>>(
        &self,
        job_name: &str,
        describe: impl FnOnce() -> Result<DataStream<T>, E>,
    ) -> Result<Vec<T>, E> {
        let collected = Collect::new();
        self.execute_aside(job_name, || {
            describe()?.add_collect(&collected);
            Ok::<_, E>(())
        })?;
        Ok(collected.take())
    }
}

impl<T: Data> DataStream<T> {
    /// The stream without its type, for a [`Planner`] that may read it: nothing else need.
    pub fn reference(&self) -> StreamRef {
        self.env().graph().borrow_mut().make_readable(self.origins());
        StreamRef(self.origins().to_vec())
    }

    /// Whether the stream belongs to `env`.
    pub fn is_of(&self, env: &StreamExecutionEnvironment) -> bool {
        Rc::ptr_eq(self.env().graph(), env.graph())
    }

    /// The environment that the stream belongs to.
    pub fn get_execution_environment(&self) -> StreamExecutionEnvironment {
        self.env().clone()
    }
}
