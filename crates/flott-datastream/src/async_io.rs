//! Asynchronous functions: many records wait for something outside at the same time ([`AsyncDataStream`]).

use crate::function::{BoxError, RuntimeContext};
use crate::graph::ProgramError;
use crate::operators::async_wait::{AsyncSettings, AsyncWait};
use crate::records::Data;
use crate::stream::DataStream;
use flott_state::StateValue;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Asks something outside for each record. Calls run on Tokio, up to the capacity at the same time, on one function that they share.
///
/// Records whose answers are not out yet are kept in checkpoints and asked again after a restore; so they are state, and derive
/// [`StateValue`] where they are structs.
///
/// ```
/// use flott::prelude::*;
/// use std::time::Duration;
///
/// /// Looks a name up elsewhere.
/// #[derive(Clone)]
/// struct Lookup;
///
/// impl AsyncFunction<i64> for Lookup {
///     type Out = String;
///
///     async fn async_invoke(&self, id: i64) -> Result<Vec<String>, BoxError> {
///         tokio::time::sleep(Duration::from_millis(10 - id as u64)).await;
///         Ok(vec![format!("user {id}")])
///     }
/// }
///
/// let env = StreamExecutionEnvironment::get_execution_environment();
/// let users = AsyncDataStream::ordered_wait(&env.from_sequence(1, 3), Lookup, Duration::from_secs(5), 100);
/// assert_eq!(users.execute_and_collect("users")?, ["user 1", "user 2", "user 3"]);
/// # Ok::<(), ExecuteError>(())
/// ```
pub trait AsyncFunction<T>: Clone + Send + Sync + 'static {
    /// What it gives.
    type Out: Data;

    /// Called once in each subtask before its first record. Calls that are under way at a checkpoint are asked again after a restore, so an
    /// [operator list](RuntimeContext::operator_list_state) may hold what they have put into it, too.
    ///
    /// # Errors
    /// Fails the task, which the restart strategy may start again; so do errors of all methods, but those that are tried again.
    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        let _ = ctx;
        Ok(())
    }

    /// Gives any number of records for one. The future is dropped when its time is over, or the task ends.
    ///
    /// # Errors
    /// As [`Self::open`]; see [`AsyncRetryStrategy`].
    fn async_invoke(&self, value: T) -> impl Future<Output = Result<Vec<Self::Out>, BoxError>> + Send;

    /// What is given for a record whose time is over; by default an error.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn timeout(&self, value: T) -> Result<Vec<Self::Out>, BoxError> {
        let _ = value;
        Err("the asynchronous function has not answered in time".into())
    }

    /// Called once when the task ends, in whatever way: see [`MapFunction::close`](crate::MapFunction::close).
    ///
    /// # Errors
    /// They are told in the log; the task ends as it would.
    fn close(&self) -> Result<(), BoxError> {
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Backoff {
    Fixed(Duration),
    Exponential {
        initial: Duration,
        longest: Duration,
        multiplier: f64,
    },
}

type IfResult<U> = Arc<dyn Fn(&[U]) -> bool + Send + Sync>;
type IfError = Arc<dyn Fn(&(dyn Error + Send + Sync + 'static)) -> bool + Send + Sync>;

/// Which answers are asked for again, how often and when. Without [`Self::if_result`] and [`Self::if_error`] none is.
pub struct AsyncRetryStrategy<U> {
    max_attempts: u32,
    backoff: Backoff,
    if_result: Option<IfResult<U>>,
    if_error: Option<IfError>,
}

impl<U> Clone for AsyncRetryStrategy<U> {
    fn clone(&self) -> Self {
        Self {
            max_attempts: self.max_attempts,
            backoff: self.backoff,
            if_result: self.if_result.clone(),
            if_error: self.if_error.clone(),
        }
    }
}

impl<U> fmt::Debug for AsyncRetryStrategy<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncRetryStrategy")
            .field("max_attempts", &self.max_attempts)
            .finish_non_exhaustive()
    }
}

impl<U> AsyncRetryStrategy<U> {
    fn new(max_attempts: u32, backoff: Backoff) -> Self {
        Self {
            max_attempts,
            backoff,
            if_result: None,
            if_error: None,
        }
    }

    /// Asks again up to `max_attempts` times, each time after `backoff`.
    pub fn fixed_delay(max_attempts: u32, backoff: Duration) -> Self {
        Self::new(max_attempts, Backoff::Fixed(backoff))
    }

    /// Asks again up to `max_attempts` times: first after `initial`, then each time after `multiplier` times as long, up to `longest`.
    pub fn exponential_backoff(max_attempts: u32, initial: Duration, longest: Duration, multiplier: f64) -> Self {
        Self::new(
            max_attempts,
            Backoff::Exponential {
                initial,
                longest,
                multiplier,
            },
        )
    }

    /// Answers for which this is true are asked for again; the last one counts, whatever it is.
    pub fn if_result(mut self, again: impl Fn(&[U]) -> bool + Send + Sync + 'static) -> Self {
        self.if_result = Some(Arc::new(again));
        self
    }

    /// Errors for which this is true do not fail the task before the attempts are used up.
    pub fn if_error(
        mut self,
        again: impl Fn(&(dyn Error + Send + Sync + 'static)) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.if_error = Some(Arc::new(again));
        self
    }

    /// How long to wait before an answer is asked for again that came at the `attempt`th time, from 1; `None`: it counts.
    pub(crate) fn delay(&self, attempt: u32, answer: &Result<Vec<U>, BoxError>) -> Option<Duration> {
        let again = match answer {
            Ok(values) => self.if_result.as_ref().is_some_and(|again| again(values)),
            Err(error) => self.if_error.as_ref().is_some_and(|again| again(error.as_ref())),
        };
        if !again || attempt > self.max_attempts {
            return None;
        }
        Some(match self.backoff {
            Backoff::Fixed(backoff) => backoff,
            Backoff::Exponential {
                initial,
                longest,
                multiplier,
            } => {
                let longest_s = longest.as_secs_f64();
                let times = multiplier.powf(f64::from(attempt - 1));
                Duration::from_secs_f64((initial.as_secs_f64() * times).clamp(0.0, longest_s))
            }
        })
    }

    /// What is wrong with it.
    fn refused(&self) -> Option<String> {
        match self.backoff {
            Backoff::Exponential { multiplier, .. } if multiplier.is_nan() || multiplier < 1.0 => Some(format!(
                "the multiplier of an exponential backoff is {multiplier}: it must be 1 or more"
            )),
            _ => None,
        }
    }
}

/// Puts asynchronous functions behind streams. `timeout` is the time that a record has from its first call to its answer, retries
/// included (zero: any); `capacity` how many records may be under way in a subtask: more of them are not read before.
#[derive(Debug, Clone, Copy)]
pub struct AsyncDataStream;

impl AsyncDataStream {
    /// Answers are in the order of their records.
    pub fn ordered_wait<T: Data + StateValue, F: AsyncFunction<T>>(
        stream: &DataStream<T>,
        function: F,
        timeout: Duration,
        capacity: usize,
    ) -> DataStream<F::Out> {
        Self::wait(stream, function, (true, timeout, capacity), None)
    }

    /// Answers come when they are there; none passes a watermark.
    pub fn unordered_wait<T: Data + StateValue, F: AsyncFunction<T>>(
        stream: &DataStream<T>,
        function: F,
        timeout: Duration,
        capacity: usize,
    ) -> DataStream<F::Out> {
        Self::wait(stream, function, (false, timeout, capacity), None)
    }

    /// [`Self::ordered_wait`], where some answers are asked for again.
    pub fn ordered_wait_with_retry<T: Data + StateValue, F: AsyncFunction<T>>(
        stream: &DataStream<T>,
        function: F,
        timeout: Duration,
        capacity: usize,
        strategy: AsyncRetryStrategy<F::Out>,
    ) -> DataStream<F::Out> {
        Self::wait(stream, function, (true, timeout, capacity), Some(strategy))
    }

    /// [`Self::unordered_wait`], where some answers are asked for again.
    pub fn unordered_wait_with_retry<T: Data + StateValue, F: AsyncFunction<T>>(
        stream: &DataStream<T>,
        function: F,
        timeout: Duration,
        capacity: usize,
        strategy: AsyncRetryStrategy<F::Out>,
    ) -> DataStream<F::Out> {
        Self::wait(stream, function, (false, timeout, capacity), Some(strategy))
    }

    fn wait<T: Data + StateValue, F: AsyncFunction<T>>(
        stream: &DataStream<T>,
        function: F,
        (is_ordered, timeout, capacity): (bool, Duration, usize),
        retry: Option<AsyncRetryStrategy<F::Out>>,
    ) -> DataStream<F::Out> {
        let zero =
            (capacity == 0).then(|| "the capacity of an asynchronous function is 0: give it 1 or more".to_owned());
        if let Some(reason) = zero.or_else(|| retry.as_ref().and_then(AsyncRetryStrategy::refused)) {
            stream.env().graph().borrow_mut().refuse(ProgramError::Async { reason });
        }
        let timeout_ms = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
        let settings = AsyncSettings {
            is_ordered,
            timeout_ms: (timeout_ms > 0).then_some(timeout_ms),
            capacity,
            retry,
        };
        stream.stateful("async-wait", "Async Wait", move || {
            Box::new(AsyncWait::<T, F>::new(function.clone(), settings.clone()))
        })
    }
}
