//! Joins of two streams by key and window: [`DataStream::join`], [`DataStream::co_group`].

use crate::function::Collector;
use crate::key::Key;
use crate::keyed::KeyedStream;
use crate::records::Data;
use crate::stream::DataStream;
use crate::window::assigner::WindowAssigner;
use crate::window::contents::{Elements, EvictWith, Eviction, NoEvictor};
use crate::window::evictor::Evictor;
use crate::window::stream::WindowedStream;
use crate::window::trigger::Trigger;
use flott_core::{LogicalType, TypeKind};
use flott_state::StateValue;
use flott_state::value::{DamagedValue, skip_field};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A record of one of two streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Either<A, B> {
    /// Of the first.
    First(A),
    /// Of the second.
    Second(B),
}

/// As a row of which stream it is (0, 1), and a field for each, one of which is absent.
impl<A: StateValue, B: StateValue> StateValue for Either<A, B> {
    fn state_type() -> LogicalType {
        <(i8, Option<A>, Option<B>)>::state_type()
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::First(value) => {
                0i8.write_field(out);
                value.write_field(out);
                out.push(0);
            }
            Self::Second(value) => {
                1i8.write_field(out);
                out.push(0);
                value.write_field(out);
            }
        }
    }

    fn check(stored: &LogicalType) -> Result<(), String> {
        <(i8, Option<A>, Option<B>)>::check(stored)
    }

    fn read(stored: &LogicalType, bytes: &mut &[u8]) -> Result<Self, DamagedValue> {
        let TypeKind::Row(fields) = &stored.kind else {
            return Err(DamagedValue);
        };
        let [which, first, second] = fields.as_slice() else {
            return Err(DamagedValue);
        };
        if i8::read_field(&which.ty, bytes)? == 0 {
            let value = A::read_field(&first.ty, bytes)?;
            skip_field(&second.ty, bytes)?;
            return Ok(Self::First(value));
        }
        skip_field(&first.ty, bytes)?;
        let value = B::read_field(&second.ty, bytes)?;
        Ok(Self::Second(value))
    }

    fn owned_bytes(&self) -> usize {
        match self {
            Self::First(value) => value.owned_bytes(),
            Self::Second(value) => value.owned_bytes(),
        }
    }
}

/// Each record of the first stream with each of the second.
#[derive(Debug, Clone, Copy)]
pub struct Pairs;

/// All records of both streams together.
#[derive(Debug, Clone, Copy)]
pub struct Groups;

/// Two streams to be joined: say where the first's key is ([`Self::where_key`]).
#[derive(Debug, Clone)]
pub struct JoinedStreams<A, B, M> {
    first: DataStream<A>,
    second: DataStream<B>,
    how: M,
}

/// Two streams of which the first has a key: say what it is equal to ([`Self::equal_to`]).
pub struct JoinedWhere<K, A, B, M> {
    streams: JoinedStreams<A, B, M>,
    first_key: Arc<dyn Fn(&A) -> K + Send + Sync>,
}

/// Two streams with equal keys: say in which windows they meet ([`Self::window`]).
#[derive(Debug, Clone)]
pub struct JoinedOn<K, A, B, M> {
    both: KeyedStream<K, Either<A, B>>,
    how: M,
}

/// Two streams with equal keys in windows.
#[derive(Debug)]
pub struct JoinedWindows<K, A, B, W, G, E, M> {
    windows: WindowedStream<K, Either<A, B>, W, G, E>,
    how: M,
}

impl<K, A, B, M: fmt::Debug> fmt::Debug for JoinedWhere<K, A, B, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinedWhere({:?})", self.streams.how)
    }
}

impl<A: Data + StateValue> DataStream<A> {
    /// Pairs the records of two streams that have equal keys and lie in the same window; those without a partner are left out.
    ///
    /// ```
    /// use flott::prelude::*;
    /// use std::time::Duration;
    ///
    /// let env = StreamExecutionEnvironment::get_execution_environment();
    /// let strategy = WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|r: &(i64, i64), _| r.1);
    /// let timed = |rows: [(i64, i64); 3]| env.from_collection(rows).assign_timestamps_and_watermarks(&strategy);
    /// let (clicks, views) = (timed([(1, 10), (2, 20), (1, 120)]), timed([(1, 5), (1, 90), (3, 110)]));
    /// let pairs = clicks
    ///     .join(&views)
    ///     .where_key(|click| click.0)
    ///     .equal_to(|view| view.0)
    ///     .window(TumblingEventTimeWindows::of(Duration::from_millis(100)))
    ///     .apply(|click, view| (click.1, view.1));
    /// assert_eq!(pairs.execute_and_collect("clicks and views")?, [(10, 5), (10, 90)]);
    /// # Ok::<(), ExecuteError>(())
    /// ```
    pub fn join<B: Data + StateValue>(&self, other: &DataStream<B>) -> JoinedStreams<A, B, Pairs> {
        JoinedStreams {
            first: self.clone(),
            second: other.clone(),
            how: Pairs,
        }
    }

    /// Gives the records of two streams that have equal keys and lie in the same window to one call, also where one of the two has none.
    pub fn co_group<B: Data + StateValue>(&self, other: &DataStream<B>) -> JoinedStreams<A, B, Groups> {
        JoinedStreams {
            first: self.clone(),
            second: other.clone(),
            how: Groups,
        }
    }
}

impl<A: Data + StateValue, B: Data + StateValue, M> JoinedStreams<A, B, M> {
    /// The key of the first stream's records.
    pub fn where_key<K: Key>(self, key: impl Fn(&A) -> K + Send + Sync + 'static) -> JoinedWhere<K, A, B, M> {
        JoinedWhere {
            streams: self,
            first_key: Arc::new(key),
        }
    }
}

impl<K: Key, A: Data + StateValue, B: Data + StateValue, M> JoinedWhere<K, A, B, M> {
    /// The key of the second stream's records.
    pub fn equal_to(self, key: impl Fn(&B) -> K + Send + Sync + 'static) -> JoinedOn<K, A, B, M> {
        let JoinedStreams { first, second, how } = self.streams;
        let (first, second) = (first.map(Either::First), second.map(Either::Second));
        let first_key = self.first_key;
        let both = first.union(&[&second]).key_by(move |either| match either {
            Either::First(value) => first_key(value),
            Either::Second(value) => key(value),
        });
        JoinedOn { both, how }
    }
}

impl<K: Key, A: Data + StateValue, B: Data + StateValue, M> JoinedOn<K, A, B, M> {
    /// The windows in which records meet.
    pub fn window<W: WindowAssigner<Either<A, B>>>(
        self,
        assigner: W,
    ) -> JoinedWindows<K, A, B, W, W::Trigger, NoEvictor, M> {
        JoinedWindows {
            windows: self.both.window(assigner),
            how: self.how,
        }
    }
}

impl<K, A, B, W, G, E, M> JoinedWindows<K, A, B, W, G, E, M>
where
    K: Key,
    A: Data + StateValue,
    B: Data + StateValue,
    W: WindowAssigner<Either<A, B>>,
    G: Trigger<Either<A, B>, W::Window>,
{
    /// Lets another trigger fire the windows.
    pub fn trigger<H: Trigger<Either<A, B>, W::Window>>(self, trigger: H) -> JoinedWindows<K, A, B, W, H, E, M> {
        JoinedWindows {
            windows: self.windows.trigger(trigger),
            how: self.how,
        }
    }

    /// Lets an evictor take records out of windows that fire.
    pub fn evictor<F: Evictor<Either<A, B>, W::Window>>(
        self,
        evictor: F,
    ) -> JoinedWindows<K, A, B, W, G, EvictWith<F>, M> {
        JoinedWindows {
            windows: self.windows.evictor(evictor),
            how: self.how,
        }
    }

    /// Keeps windows for so long behind their end: a record that comes in that time fires its window again.
    pub fn allowed_lateness(self, lateness: Duration) -> Self {
        Self {
            windows: self.windows.allowed_lateness(lateness),
            how: self.how,
        }
    }
}

/// The records of both streams, in the order in which they came.
fn apart<A, B>(elements: Elements<Either<A, B>>) -> (Vec<A>, Vec<B>) {
    let (mut first, mut second) = (vec![], vec![]);
    for element in elements {
        match element {
            Either::First(value) => first.push(value),
            Either::Second(value) => second.push(value),
        }
    }
    (first, second)
}

impl<K, A, B, W, G, E> JoinedWindows<K, A, B, W, G, E, Pairs>
where
    K: Key,
    A: Data + StateValue,
    B: Data + StateValue,
    W: WindowAssigner<Either<A, B>>,
    G: Trigger<Either<A, B>, W::Window>,
    E: Eviction<Either<A, B>, W::Window>,
{
    /// One record of each pair.
    pub fn apply<U: Data>(&self, f: impl FnMut(&A, &B) -> U + Clone + Send + Sync + 'static) -> DataStream<U> {
        let mut f = f;
        self.windows.apply(move |_, _, elements, out| {
            let (first, second) = apart(elements);
            for a in &first {
                second.iter().for_each(|b| out.collect(f(a, b)));
            }
        })
    }
}

impl<K, A, B, W, G, E> JoinedWindows<K, A, B, W, G, E, Groups>
where
    K: Key,
    A: Data + StateValue,
    B: Data + StateValue,
    W: WindowAssigner<Either<A, B>>,
    G: Trigger<Either<A, B>, W::Window>,
    E: Eviction<Either<A, B>, W::Window>,
{
    /// Any number of records of the key's records of both streams.
    pub fn apply<U: Data>(
        &self,
        f: impl FnMut(Vec<A>, Vec<B>, &mut Collector<U>) + Clone + Send + Sync + 'static,
    ) -> DataStream<U> {
        let mut f = f;
        self.windows.apply(move |_, _, elements, out| {
            let (first, second) = apart(elements);
            f(first, second, out);
        })
    }
}
