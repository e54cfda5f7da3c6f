//! [`WindowedStream`]: a stream cut into windows, and what can be made of them.

use super::AllKey;
use super::assigner::{GlobalWindows, WindowAssigner};
use super::contents::{Aggregated, Contents, Elements, EvictWith, Eviction, Gathered, NoEvictor, Reduced};
use super::evictor::{CountEvictor, Evictor};
use super::function::{Apply, PassOn, ProcessWindowFunction};
use super::trigger::{CountTrigger, PurgingTrigger, Trigger};
use crate::fold::{self, ByValue, Fold};
use crate::function::{AggregateFunction, Collector};
use crate::graph::ProgramError;
use crate::key::Key;
use crate::keyed::KeyedStream;
use crate::operators::keyed::selector;
use crate::operators::window::{WindowOperator, WindowSettings};
use crate::records::Data;
use crate::side::OutputTag;
use crate::stream::DataStream;
use flott_state::StateValue;
use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

/// A stream whose records lie in windows of `A` until the trigger `G` fires them. [`KeyedStream::window`] makes it.
///
/// ```
/// use flott::prelude::*;
/// use std::time::Duration;
///
/// let env = StreamExecutionEnvironment::get_execution_environment();
/// let strategy = WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|visit: &(String, i64, i64), _| visit.1);
/// let visits = [("a.com", 1_000, 2), ("b.com", 4_000, 1), ("a.com", 59_999, 3), ("a.com", 60_000, 5)];
/// let sums = env
///     .from_collection(visits.map(|(site, ms, count)| (site.to_owned(), ms, count)))
///     .assign_timestamps_and_watermarks(&strategy)
///     .key_by(|visit| visit.0.clone())
///     .window(TumblingEventTimeWindows::of(Duration::from_secs(60)))
///     .sum(|visit| &mut visit.2)
///     .map(|(site, _, sum)| format!("{site} {sum}"));
/// assert_eq!(sums.execute_and_collect("visits")?, ["a.com 5", "b.com 1", "a.com 5"]);
/// # Ok::<(), ExecuteError>(())
/// ```
#[must_use = "a stream that nothing reads is no job: end it in a sink, such as print()"]
pub struct WindowedStream<K, T, A, G, E = NoEvictor> {
    stream: KeyedStream<K, T>,
    assigner: A,
    trigger: G,
    evictor: E,
    lateness_ms: i64,
    late: Option<OutputTag<T>>,
    /// Whether all records have one key, so that one subtask has all.
    is_all: bool,
}

impl<K, T, A: fmt::Debug, G: fmt::Debug, E: fmt::Debug> fmt::Debug for WindowedStream<K, T, A, G, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowedStream")
            .field("assigner", &self.assigner)
            .field("trigger", &self.trigger)
            .field("evictor", &self.evictor)
            .field("lateness_ms", &self.lateness_ms)
            .finish_non_exhaustive()
    }
}

/// A stream without keys in windows: its functions have [`AllKey`] as key.
pub type AllWindowedStream<T, A, G, E = NoEvictor> = WindowedStream<AllKey, T, A, G, E>;

/// Windows that fire, and begin anew, at each so many records.
type CountWindows<K, T> = WindowedStream<K, T, GlobalWindows, PurgingTrigger<CountTrigger>>;

/// Windows of the last so many records.
type SlidingCountWindows<K, T> = WindowedStream<K, T, GlobalWindows, CountTrigger, EvictWith<CountEvictor>>;

impl<K: Key, T: Data> KeyedStream<K, T> {
    /// Cuts the records of each key into windows.
    pub fn window<A: WindowAssigner<T>>(&self, assigner: A) -> WindowedStream<K, T, A, A::Trigger> {
        WindowedStream {
            stream: self.clone(),
            trigger: assigner.default_trigger(),
            assigner,
            evictor: NoEvictor,
            lateness_ms: 0,
            late: None,
            is_all: false,
        }
    }

    /// Windows of `size` records of a key; what is left at the end is given up, as in Flink.
    pub fn count_window(&self, size: u32) -> CountWindows<K, T> {
        self.window(GlobalWindows)
            .trigger(PurgingTrigger::of(CountTrigger::of(size)))
    }

    /// The last `size` records of a key, at each `slide` records.
    pub fn count_window_sliding(&self, size: u32, slide: u32) -> SlidingCountWindows<K, T> {
        self.window(GlobalWindows)
            .evictor(CountEvictor::of(size as usize))
            .trigger(CountTrigger::of(slide))
    }
}

impl<T: Data> DataStream<T> {
    fn all(&self) -> KeyedStream<AllKey, T> {
        let (env, origins) = (self.env().clone(), self.origins().to_vec());
        KeyedStream::new(env, origins, selector(|_| AllKey))
    }

    /// Cuts all records into windows, in one subtask.
    pub fn window_all<A: WindowAssigner<T>>(&self, assigner: A) -> AllWindowedStream<T, A, A::Trigger> {
        WindowedStream {
            is_all: true,
            ..self.all().window(assigner)
        }
    }

    /// Windows of `size` records, in one subtask.
    pub fn count_window_all(&self, size: u32) -> CountWindows<AllKey, T> {
        WindowedStream {
            is_all: true,
            ..self.all().count_window(size)
        }
    }

    /// The last `size` records, at each `slide` records, in one subtask.
    pub fn count_window_all_sliding(&self, size: u32, slide: u32) -> SlidingCountWindows<AllKey, T> {
        WindowedStream {
            is_all: true,
            ..self.all().count_window_sliding(size, slide)
        }
    }
}

impl<K: Key, T: Data, A: WindowAssigner<T>, G: Trigger<T, A::Window>, E> WindowedStream<K, T, A, G, E> {
    /// Lets another trigger fire the windows.
    pub fn trigger<H: Trigger<T, A::Window>>(self, trigger: H) -> WindowedStream<K, T, A, H, E> {
        WindowedStream {
            stream: self.stream,
            assigner: self.assigner,
            trigger,
            evictor: self.evictor,
            lateness_ms: self.lateness_ms,
            late: self.late,
            is_all: self.is_all,
        }
    }

    /// Lets an evictor take records out of windows that fire.
    pub fn evictor<F: Evictor<T, A::Window>>(self, evictor: F) -> WindowedStream<K, T, A, G, EvictWith<F>> {
        WindowedStream {
            stream: self.stream,
            assigner: self.assigner,
            trigger: self.trigger,
            evictor: EvictWith(evictor),
            lateness_ms: self.lateness_ms,
            late: self.late,
            is_all: self.is_all,
        }
    }

    /// Keeps windows for so long behind their end: a record that comes in that time fires its window again.
    pub fn allowed_lateness(mut self, lateness: Duration) -> Self {
        self.lateness_ms = i64::try_from(lateness.as_millis()).unwrap_or(i64::MAX);
        self
    }

    /// Sends records that are too late for all their windows to a side output instead of dropping them.
    pub fn side_output_late_data(mut self, tag: &OutputTag<T>) -> Self {
        self.late = Some(tag.clone());
        self
    }
}

impl<K: Key, T: Data, A: WindowAssigner<T>, G: Trigger<T, A::Window>, E: Eviction<T, A::Window>>
    WindowedStream<K, T, A, G, E>
{
    fn apply_to<C, F>(&self, contents: C, function: F) -> DataStream<F::Out>
    where
        C: Contents<T, A::Window>,
        F: ProcessWindowFunction<K, <E::Of<C> as Contents<T, A::Window>>::Item, A::Window>,
    {
        let settings = WindowSettings {
            selector: self.stream.selector(),
            assigner: self.assigner.clone(),
            trigger: self.trigger.clone(),
            contents: self.evictor.clone().around(contents),
            function,
            lateness_ms: self.lateness_ms,
            late: self.late.clone(),
        };
        let name = self.assigner.name();
        let env = self.stream.env();
        let mut graph = env.graph().borrow_mut();
        if let Err(reason) = self.check() {
            graph.refuse(ProgramError::Window { reason });
        }
        let make = move |sides| Box::new(WindowOperator::new(settings.clone(), sides)) as Box<_>;
        let inputs = [self.stream.origins()];
        let origin = graph.operator_with_sides::<F::Out>("window", name, true, &inputs, make);
        if self.is_all {
            graph.fix_parallelism(origin.node, 1);
        }
        drop(graph);
        DataStream::new(env.clone(), vec![origin])
    }

    fn check(&self) -> Result<(), String> {
        self.assigner.check()?;
        let name = self.assigner.name();
        if self.assigner.is_merging() && !self.trigger.can_merge() {
            return Err(format!(
                "{name} merge windows, and the trigger cannot: implement Trigger::can_merge and on_merge, or use another trigger"
            ));
        }
        let has_late = self.lateness_ms > 0 || self.late.is_some();
        if has_late && !self.assigner.is_event_time() {
            return Err(format!(
                "nothing is late in {name}, which are not of event time: remove allowed_lateness and side_output_late_data"
            ));
        }
        Ok(())
    }

    /// Gives all records of a window to a function.
    pub fn process<F: ProcessWindowFunction<K, T, A::Window>>(&self, function: F) -> DataStream<F::Out>
    where
        T: StateValue,
    {
        self.apply_to(Gathered::new(), function)
    }

    /// Gives all records of a window to a closure, with the key and the window.
    pub fn apply<U: Data>(
        &self,
        f: impl FnMut(&K, &A::Window, Elements<T>, &mut Collector<U>) + Clone + Send + Sync + 'static,
    ) -> DataStream<U>
    where
        T: StateValue,
    {
        self.apply_to(Gathered::new(), Apply::new(f))
    }

    /// Folds the records of a window, as they come.
    pub fn aggregate<B: AggregateFunction<In = T>>(&self, aggregate: B) -> DataStream<B::Out>
    where
        B::Out: Data,
    {
        self.apply_to(Aggregated(aggregate), PassOn)
    }

    /// Folds the records of a window, as they come, and gives the result to a function.
    pub fn aggregate_with<B, F>(&self, aggregate: B, function: F) -> DataStream<F::Out>
    where
        B: AggregateFunction<In = T>,
        F: ProcessWindowFunction<K, B::Out, A::Window>,
    {
        self.apply_to(Aggregated(aggregate), function)
    }
}

impl<K, T, A, G, E> WindowedStream<K, T, A, G, E>
where
    K: Key,
    T: Data + StateValue,
    A: WindowAssigner<T>,
    G: Trigger<T, A::Window>,
    E: Eviction<T, A::Window>,
{
    /// Joins the records of a window, as they come.
    pub fn reduce(&self, f: impl FnMut(T, T) -> T + Clone + Send + Sync + 'static) -> DataStream<T> {
        self.apply_to(Reduced(ByValue(f)), PassOn)
    }

    /// Joins the records of a window, as they come, and gives the result to a function.
    pub fn reduce_with<F: ProcessWindowFunction<K, T, A::Window>>(
        &self,
        f: impl FnMut(T, T) -> T + Clone + Send + Sync + 'static,
        function: F,
    ) -> DataStream<F::Out> {
        self.apply_to(Reduced(ByValue(f)), function)
    }

    fn fold(&self, fold: impl Fold<T>) -> DataStream<T> {
        self.apply_to(Reduced(fold), PassOn)
    }

    /// Sums a field; the others stay those of the window's first record.
    pub fn sum<N: AddAssign + Copy>(
        &self,
        field: impl Fn(&mut T) -> &mut N + Clone + Send + Sync + 'static,
    ) -> DataStream<T> {
        self.fold(fold::sum_of(field))
    }

    /// Keeps the smallest value of a field; the others stay those of the window's first record.
    pub fn min<N: PartialOrd>(
        &self,
        field: impl Fn(&mut T) -> &mut N + Clone + Send + Sync + 'static,
    ) -> DataStream<T> {
        self.fold(fold::min_of(field))
    }

    /// Keeps the largest value of a field; the others stay those of the window's first record.
    pub fn max<N: PartialOrd>(
        &self,
        field: impl Fn(&mut T) -> &mut N + Clone + Send + Sync + 'static,
    ) -> DataStream<T> {
        self.fold(fold::max_of(field))
    }

    /// Keeps the record with the smallest value; of equal ones the first.
    pub fn min_by<N: PartialOrd>(&self, value: impl Fn(&T) -> N + Clone + Send + Sync + 'static) -> DataStream<T> {
        self.fold(fold::min_by_of(value))
    }

    /// Keeps the record with the largest value; of equal ones the first.
    pub fn max_by<N: PartialOrd>(&self, value: impl Fn(&T) -> N + Clone + Send + Sync + 'static) -> DataStream<T> {
        self.fold(fold::max_by_of(value))
    }
}
