//! Side outputs: records of another type that a process function emits beside its stream, told apart by [`OutputTag`].
//!
//! A tag that somebody reads ([`crate::DataStream::get_side_output`]) has a number among the outputs of its node, from 1 on, and a
//! buffer in the operator. What is emitted to a tag that nobody reads is dropped, as in Flink.

use crate::graph::ProgramError;
use crate::records::{Data, Records};
use flott_core::{Batch, EventTime};
use flott_runtime::Output;
use std::any::{Any, TypeId};
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

/// Names a side output and the type of its records. Two tags of one name and type are the same.
///
/// ```
/// use flott::prelude::*;
/// use std::sync::{Arc, Mutex};
///
/// #[derive(Clone)]
/// struct Split {
///     odd: OutputTag<String>,
/// }
///
/// impl ProcessFunction<i64> for Split {
///     type Out = i64;
///
///     fn process_element(&mut self, value: i64, ctx: &mut Context<'_, i64>) -> Result<(), BoxError> {
///         match value % 2 {
///             0 => ctx.collect(value),
///             _ => ctx.output(&self.odd, format!("odd {value}")),
///         }
///         Ok(())
///     }
/// }
///
/// let env = StreamExecutionEnvironment::get_execution_environment();
/// let odd = OutputTag::new("odd");
/// let even = env.from_sequence(1, 4).process(Split { odd: odd.clone() });
/// let seen = Arc::new(Mutex::new(vec![]));
/// let sink = seen.clone();
/// even.get_side_output(&odd).for_each(move |text| sink.lock().unwrap().push(text));
/// assert_eq!(even.execute_and_collect("split")?, [2, 4]);
/// assert_eq!(*seen.lock().unwrap(), ["odd 1", "odd 3"]);
/// # Ok::<(), ExecuteError>(())
/// ```
pub struct OutputTag<T> {
    id: Arc<str>,
    records: PhantomData<fn() -> T>,
}

impl<T> OutputTag<T> {
    /// The side output of a name, which it shares with no other of its operator.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self {
            id: id.into(),
            records: PhantomData,
        }
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl<T> Clone for OutputTag<T> {
    fn clone(&self) -> Self {
        Self::new(self.id.clone())
    }
}

impl<T> fmt::Debug for OutputTag<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OutputTag<{}>({})", std::any::type_name::<T>(), self.id)
    }
}

/// The side outputs of a node that are read, shared by the graph and the factory of its operator.
#[derive(Clone, Default)]
pub(crate) struct SideOutputs(Arc<Mutex<Vec<Declared>>>);

struct Declared {
    id: Arc<str>,
    type_id: TypeId,
    type_name: &'static str,
    buffer: fn() -> Box<dyn Buffer>,
}

impl SideOutputs {
    /// The output number of a tag, and whether it is new.
    ///
    /// # Errors
    /// If it is read as another type elsewhere.
    pub(crate) fn declare<T: Data>(&self, tag: &OutputTag<T>) -> Result<(usize, bool), ProgramError> {
        let mut declared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let type_name = std::any::type_name::<T>();
        if let Some(index) = declared.iter().position(|d| d.id == tag.id) {
            let first = &declared[index];
            if first.type_id != TypeId::of::<T>() {
                return Err(ProgramError::SideOutputType {
                    id: tag.id.to_string(),
                    first: first.type_name,
                    second: type_name,
                });
            }
            return Ok((index + 1, false));
        }
        declared.push(Declared {
            id: tag.id.clone(),
            type_id: TypeId::of::<T>(),
            type_name,
            buffer: || Box::new(Records::<T>::default()),
        });
        Ok((declared.len(), true))
    }

    /// Buffers for an operator.
    pub(crate) fn buffers(&self) -> Sides {
        let declared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let side = |d: &Declared| Side {
            id: d.id.clone(),
            type_name: d.type_name,
            buffer: (d.buffer)(),
        };
        Sides {
            sides: declared.iter().map(side).collect(),
            rows: 0,
        }
    }
}

/// Records of one side output that wait to be emitted.
trait Buffer: Send {
    fn take(&mut self) -> Batch;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<T: Data> Buffer for Records<T> {
    fn take(&mut self) -> Batch {
        std::mem::take(self).into_batch()
    }
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

struct Side {
    id: Arc<str>,
    type_name: &'static str,
    buffer: Box<dyn Buffer>,
}

/// What an operator has emitted to its side outputs.
#[derive(Default)]
pub(crate) struct Sides {
    sides: Vec<Side>,
    rows: usize,
}

impl fmt::Debug for Sides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.sides.iter().map(|s| &s.id)).finish()
    }
}

impl Sides {
    /// Puts a record into the buffer of its tag, if somebody reads that; `false` if nobody does.
    ///
    /// # Panics
    /// If the tag is read as another type: user code made two of one name.
    pub(crate) fn push<T: Data>(&mut self, tag: &OutputTag<T>, value: T, time: Option<EventTime>) -> bool {
        let is_tag = |s: &&mut Side| Arc::ptr_eq(&s.id, &tag.id) || s.id == tag.id;
        let Some(side) = self.sides.iter_mut().find(is_tag) else {
            return false;
        };
        let (id, read_as) = (&side.id, side.type_name);
        let records = side.buffer.as_any_mut().downcast_mut::<Records<T>>();
        let emitted = std::any::type_name::<T>();
        assert!(
            records.is_some(),
            "the side output '{id}' is read as {read_as}, and {emitted} is emitted to it: give one of the tags another name"
        );
        if let Some(records) = records {
            records.push(value, time);
            self.rows += 1;
        }
        true
    }

    /// Records that wait.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Emits what waits.
    pub(crate) fn emit(&mut self, out: &mut Output) {
        if std::mem::take(&mut self.rows) > 0 {
            for (index, side) in self.sides.iter_mut().enumerate() {
                out.emit_side(index + 1, side.buffer.take());
            }
        }
    }
}
