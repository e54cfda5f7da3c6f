//! Two streams in one function: [`ConnectedStreams`], keyed alike [`KeyedConnectedStreams`], and beside a broadcast stream
//! [`BroadcastConnectedStream`] and [`KeyedBroadcastConnectedStream`].
//!
//! Each input stays in its order; between the two there is none. The watermark is the smaller of both.

use crate::broadcast::{BroadcastProcessFunction, KeyedBroadcastProcessFunction};
use crate::function::{BoxError, Collector, RuntimeContext};
use crate::graph::{BESIDE_BROADCAST, Origin};
use crate::key::Key;
use crate::keyed::KeyedStream;
use crate::operators::connected::{Broadcasting, CoFlatMapBy, CoMapBy, Two};
use crate::operators::keyed::{KeyedBroadcasting, KeyedTwo};
use crate::process::{Context, OpenContext, ProcessContext};
use crate::records::Data;
use crate::stream::DataStream;
use std::ops::Deref;

/// Makes one record of each of two streams, as a struct that both may change.
pub trait CoMapFunction<A, B>: Clone + Send + Sync + 'static {
    /// What it makes.
    type Out;

    crate::life::open_and_close!(&RuntimeContext);

    /// Makes one record of one of the first stream.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn map1(&mut self, value: A) -> Result<Self::Out, BoxError>;

    /// Makes one record of one of the second stream.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn map2(&mut self, value: B) -> Result<Self::Out, BoxError>;

    crate::checkpoint_hooks::checkpoint_hooks!();
}

/// Makes any number of records of each of two streams, as a struct that both may change.
pub trait CoFlatMapFunction<A, B>: Clone + Send + Sync + 'static {
    /// What it makes.
    type Out;

    crate::life::open_and_close!(&RuntimeContext);

    /// Emits what it makes of a record of the first stream.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn flat_map1(&mut self, value: A, out: &mut Collector<Self::Out>) -> Result<(), BoxError>;

    /// Emits what it makes of a record of the second stream.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn flat_map2(&mut self, value: B, out: &mut Collector<Self::Out>) -> Result<(), BoxError>;

    crate::checkpoint_hooks::checkpoint_hooks!();
}

/// Works on the records of two streams with their times and the watermark, and may emit to side outputs.
pub trait CoProcessFunction<A, B>: Clone + Send + Sync + 'static {
    /// What it emits.
    type Out: Data;

    crate::life::open_and_close!(&RuntimeContext);

    /// Called for each record of the first stream.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn process_element1(&mut self, value: A, ctx: &mut Context<'_, Self::Out>) -> Result<(), BoxError>;

    /// Called for each record of the second stream.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn process_element2(&mut self, value: B, ctx: &mut Context<'_, Self::Out>) -> Result<(), BoxError>;

    crate::checkpoint_hooks::checkpoint_hooks!();
}

/// Works on the records of two streams that are keyed alike, with state and timers that both see.
///
/// ```
/// use flott::prelude::*;
///
/// /// Gives the orders of customers who are known by then.
/// #[derive(Clone, Default)]
/// struct Known {
///     name: ValueState<String>,
/// }
///
/// type Order = (i64, u32);
///
/// impl KeyedCoProcessFunction<i64, (i64, String), Order> for Known {
///     type Out = (String, u32);
///
///     fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
///         self.name = ctx.value_state("name")?;
///         Ok(())
///     }
///     fn process_element1(&mut self, customer: (i64, String), ctx: &mut ProcessContext<'_, i64, Self::Out>) -> Result<(), BoxError> {
///         self.name.update(ctx, customer.1);
///         Ok(())
///     }
///     fn process_element2(&mut self, order: Order, ctx: &mut ProcessContext<'_, i64, Self::Out>) -> Result<(), BoxError> {
///         if let Some(name) = self.name.value(ctx).cloned() {
///             ctx.collect((name, order.1));
///         }
///         Ok(())
///     }
/// }
///
/// let env = StreamExecutionEnvironment::get_execution_environment();
/// let customers = env.from_collection([(1i64, "Ada".to_owned())]).key_by(|c| c.0);
/// let orders = env.from_generator(1, |_| {
///     std::thread::sleep(std::time::Duration::from_millis(500)); // until the customer is known
///     (1i64, 7u32)
/// });
/// let named = customers.connect(&orders.key_by(|o| o.0)).process(Known::default());
/// assert_eq!(named.execute_and_collect("orders")?, [("Ada".to_owned(), 7)]);
/// # Ok::<(), ExecuteError>(())
/// ```
pub trait KeyedCoProcessFunction<K, A, B>: Clone + Send + Sync + 'static {
    /// What it emits.
    type Out: Data;

    crate::life::open_and_close!(&mut OpenContext, declares "state");

    /// Called for each record of the first stream, in the order of its key.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn process_element1(&mut self, value: A, ctx: &mut ProcessContext<'_, K, Self::Out>) -> Result<(), BoxError>;

    /// Called for each record of the second stream, in the order of its key.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn process_element2(&mut self, value: B, ctx: &mut ProcessContext<'_, K, Self::Out>) -> Result<(), BoxError>;

    /// Called when a timer of a key is due; `timestamp` is the time that was registered, in milliseconds.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn on_timer(&mut self, timestamp: i64, ctx: &mut ProcessContext<'_, K, Self::Out>) -> Result<(), BoxError> {
        let _ = (timestamp, ctx);
        Ok(())
    }

    crate::checkpoint_hooks::checkpoint_hooks!();
}

/// Two streams without keys.
#[must_use = "a stream that nothing reads is no job: end it in a sink, such as print()"]
#[derive(Debug, Clone)]
pub struct ConnectedStreams<A, B> {
    first: DataStream<A>,
    second: DataStream<B>,
}

impl<A: Data, B: Data> ConnectedStreams<A, B> {
    fn inputs(&self) -> [&[Origin]; 2] {
        [self.first.origins(), self.second.origins()]
    }

    /// One record of each, by a closure for each stream.
    pub fn map<U: Data>(
        &self,
        first: impl FnMut(A) -> U + Clone + Send + Sync + 'static,
        second: impl FnMut(B) -> U + Clone + Send + Sync + 'static,
    ) -> DataStream<U> {
        self.map_with(CoMapWith(first, second))
    }

    /// One record of each, by a struct.
    pub fn map_with<F: CoMapFunction<A, B>>(&self, function: F) -> DataStream<F::Out>
    where
        F::Out: Data,
    {
        self.first
            .connected::<B, _>("co-map", "Co-Map", &self.inputs(), CoMapBy(function))
    }

    /// Any number of records of each, by a closure for each stream.
    pub fn flat_map<U: Data>(
        &self,
        first: impl FnMut(A, &mut Collector<U>) + Clone + Send + Sync + 'static,
        second: impl FnMut(B, &mut Collector<U>) + Clone + Send + Sync + 'static,
    ) -> DataStream<U> {
        self.flat_map_with(CoFlatMapWith(first, second, std::marker::PhantomData))
    }

    /// Any number of records of each, by a struct.
    pub fn flat_map_with<F: CoFlatMapFunction<A, B>>(&self, function: F) -> DataStream<F::Out>
    where
        F::Out: Data,
    {
        self.first
            .connected::<B, _>("co-flat-map", "Co-Flat Map", &self.inputs(), CoFlatMapBy(function))
    }

    /// Works on the records of both with all that there is to know of them.
    pub fn process<F: CoProcessFunction<A, B>>(&self, function: F) -> DataStream<F::Out> {
        self.first
            .connected::<B, _>("co-process", "Co-Process", &self.inputs(), Two(function))
    }

    /// Tells the records of both apart by keys of one type.
    pub fn key_by<K: Key>(
        &self,
        first: impl Fn(&A) -> K + Send + Sync + 'static,
        second: impl Fn(&B) -> K + Send + Sync + 'static,
    ) -> KeyedConnectedStreams<K, A, B> {
        self.first.key_by(first).connect(&self.second.key_by(second))
    }
}

/// Two closures of one to one.
#[derive(Clone)]
struct CoMapWith<F, G>(F, G);

impl<A, B, U, F, G> CoMapFunction<A, B> for CoMapWith<F, G>
where
    F: FnMut(A) -> U + Clone + Send + Sync + 'static,
    G: FnMut(B) -> U + Clone + Send + Sync + 'static,
{
    type Out = U;
    #[inline]
    fn map1(&mut self, value: A) -> Result<U, BoxError> {
        Ok((self.0)(value))
    }
    #[inline]
    fn map2(&mut self, value: B) -> Result<U, BoxError> {
        Ok((self.1)(value))
    }
}

/// Two closures of one to any number.
struct CoFlatMapWith<F, G, U>(F, G, std::marker::PhantomData<fn() -> U>);

impl<F: Clone, G: Clone, U> Clone for CoFlatMapWith<F, G, U> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), self.1.clone(), std::marker::PhantomData)
    }
}

impl<A, B, U: 'static, F, G> CoFlatMapFunction<A, B> for CoFlatMapWith<F, G, U>
where
    F: FnMut(A, &mut Collector<U>) + Clone + Send + Sync + 'static,
    G: FnMut(B, &mut Collector<U>) + Clone + Send + Sync + 'static,
{
    type Out = U;
    #[inline]
    fn flat_map1(&mut self, value: A, out: &mut Collector<U>) -> Result<(), BoxError> {
        (self.0)(value, out);
        Ok(())
    }
    #[inline]
    fn flat_map2(&mut self, value: B, out: &mut Collector<U>) -> Result<(), BoxError> {
        (self.1)(value, out);
        Ok(())
    }
}

/// Two streams that are keyed alike.
#[must_use = "a stream that nothing reads is no job: end it in a sink, such as print()"]
///
/// What can be done with any two streams can be done with them, too (`map` and `flat_map` of two closures, …): they are [`ConnectedStreams`].
#[derive(Debug, Clone)]
pub struct KeyedConnectedStreams<K, A, B> {
    first: KeyedStream<K, A>,
    second: KeyedStream<K, B>,
    plain: ConnectedStreams<A, B>,
}

impl<K, A, B> Deref for KeyedConnectedStreams<K, A, B> {
    type Target = ConnectedStreams<A, B>;
    fn deref(&self) -> &ConnectedStreams<A, B> {
        &self.plain
    }
}

impl<K: Key, A: Data, B: Data> KeyedConnectedStreams<K, A, B> {
    /// Works on the records of both with state and timers of their key.
    pub fn process<F: KeyedCoProcessFunction<K, A, B>>(&self, function: F) -> DataStream<F::Out> {
        self.apply("keyed-co-process", "Co-Keyed-Process", function)
    }

    pub(crate) fn apply<F: KeyedCoProcessFunction<K, A, B>>(
        &self,
        operation: &'static str,
        name: &str,
        function: F,
    ) -> DataStream<F::Out> {
        let second = (self.second.origins(), Some(self.second.selector()));
        self.first.connected(operation, name, second, KeyedTwo(function))
    }
}

/// A stream whose records every subtask of its reader sees, to keep them as broadcast state.
#[derive(Debug, Clone)]
pub struct BroadcastStream<B>(DataStream<B>);

impl<A: Data> DataStream<A> {
    /// This stream and another in one function.
    pub fn connect<B: Data>(&self, other: &DataStream<B>) -> ConnectedStreams<A, B> {
        ConnectedStreams {
            first: self.clone(),
            second: other.clone(),
        }
    }

    /// Gives every record to every subtask of a function with broadcast state: [`DataStream::connect_broadcast`].
    pub fn broadcast_stream(&self) -> BroadcastStream<A> {
        BroadcastStream(self.broadcast())
    }

    /// This stream beside a broadcast one.
    pub fn connect_broadcast<B: Data>(&self, broadcast: &BroadcastStream<B>) -> BroadcastConnectedStream<A, B> {
        BroadcastConnectedStream {
            stream: self.clone(),
            broadcast: broadcast.clone(),
        }
    }
}

impl<K: Key, A: Data> KeyedStream<K, A> {
    /// This stream and another that is keyed alike in one function.
    pub fn connect<B: Data>(&self, other: &KeyedStream<K, B>) -> KeyedConnectedStreams<K, A, B> {
        KeyedConnectedStreams {
            first: self.clone(),
            second: other.clone(),
            plain: DataStream::connect(self, other),
        }
    }

    /// This stream beside a broadcast one.
    pub fn connect_broadcast<B: Data>(&self, broadcast: &BroadcastStream<B>) -> KeyedBroadcastConnectedStream<K, A, B> {
        KeyedBroadcastConnectedStream {
            stream: self.clone(),
            broadcast: broadcast.clone(),
        }
    }
}

/// A stream beside a broadcast one.
#[must_use = "a stream that nothing reads is no job: end it in a sink, such as print()"]
#[derive(Debug, Clone)]
pub struct BroadcastConnectedStream<A, B> {
    stream: DataStream<A>,
    broadcast: BroadcastStream<B>,
}

impl<A: Data, B: Data> BroadcastConnectedStream<A, B> {
    /// Works on the records of both; those of the broadcast one may change broadcast state.
    pub fn process<F: BroadcastProcessFunction<A, B>>(&self, function: F) -> DataStream<F::Out> {
        let inputs = [self.stream.origins(), self.broadcast.0.origins()];
        self.stream.connected::<B, _>(
            BESIDE_BROADCAST[0],
            "Co-Process-Broadcast",
            &inputs,
            Broadcasting(function),
        )
    }
}

/// A keyed stream beside a broadcast one.
#[must_use = "a stream that nothing reads is no job: end it in a sink, such as print()"]
#[derive(Debug, Clone)]
pub struct KeyedBroadcastConnectedStream<K, A, B> {
    stream: KeyedStream<K, A>,
    broadcast: BroadcastStream<B>,
}

impl<K: Key, A: Data, B: Data> KeyedBroadcastConnectedStream<K, A, B> {
    /// Works on the records of both; those of the broadcast one may change broadcast state.
    pub fn process<F: KeyedBroadcastProcessFunction<K, A, B>>(&self, function: F) -> DataStream<F::Out> {
        let name = "Co-Process-Broadcast-Keyed";
        let second = (self.broadcast.0.origins(), None);
        self.stream
            .connected(BESIDE_BROADCAST[1], name, second, KeyedBroadcasting(function))
    }
}
