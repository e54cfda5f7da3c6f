//! What a window keeps of its records until it fires: all of them, what they were folded into, or all for an evictor.

use super::evictor::{Evictor, EvictorContext, TimestampedValue};
use crate::fold::Fold;
use crate::function::{AggregateFunction, BoxError};
use flott_core::EventTime;
use flott_state::StateValue;
use std::marker::PhantomData;

/// What a window function is given: the window's records in the order in which they came, or what became of them.
#[derive(Debug, Clone)]
pub struct Elements<X>(Kept<X>);

#[derive(Debug, Clone)]
enum Kept<X> {
    One(Option<X>),
    Many(std::vec::IntoIter<X>),
}

impl<X> Elements<X> {
    fn one(element: Option<X>) -> Self {
        Self(Kept::One(element))
    }

    fn many(elements: Vec<X>) -> Self {
        Self(Kept::Many(elements.into_iter()))
    }
}

impl<X> Iterator for Elements<X> {
    type Item = X;

    #[inline]
    fn next(&mut self) -> Option<X> {
        match &mut self.0 {
            Kept::One(element) => element.take(),
            Kept::Many(elements) => elements.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let length = match &self.0 {
            Kept::One(element) => usize::from(element.is_some()),
            Kept::Many(elements) => elements.len(),
        };
        (length, Some(length))
    }
}

impl<X> ExactSizeIterator for Elements<X> {}

/// How a window keeps its records.
pub trait Contents<T, W>: Clone + Send + Sync + 'static {
    /// What is kept.
    type Kept: StateValue;
    /// What the function gets.
    type Item;

    /// Adds a record.
    fn add(&mut self, kept: &mut Option<Self::Kept>, value: T, time: Option<EventTime>) -> Result<(), BoxError>;

    /// What two windows keep that become one.
    fn merge(&mut self, a: Self::Kept, b: Self::Kept) -> Self::Kept;

    /// What the function gets; the window keeps its records.
    fn elements(
        &mut self,
        kept: &mut Self::Kept,
        window: &W,
        ctx: &EvictorContext,
    ) -> Result<Elements<Self::Item>, BoxError>;

    /// What the function gets of a window that does not keep its records.
    #[inline]
    fn take_elements(
        &mut self,
        mut kept: Self::Kept,
        window: &W,
        ctx: &EvictorContext,
    ) -> Result<Elements<Self::Item>, BoxError> {
        self.elements(&mut kept, window, ctx)
    }

    /// Called behind the function, if the window keeps its records.
    fn fired(&mut self, kept: &mut Option<Self::Kept>, window: &W, ctx: &EvictorContext) -> Result<(), BoxError> {
        let _ = (kept, window, ctx);
        Ok(())
    }
}

/// All records.
pub struct Gathered<T>(PhantomData<fn() -> T>);

impl<T> Gathered<T> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Clone for Gathered<T> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<T: StateValue, W> Contents<T, W> for Gathered<T> {
    type Kept = Vec<T>;
    type Item = T;

    #[inline]
    fn add(&mut self, kept: &mut Option<Vec<T>>, value: T, _time: Option<EventTime>) -> Result<(), BoxError> {
        kept.get_or_insert_default().push(value);
        Ok(())
    }

    fn merge(&mut self, mut a: Vec<T>, b: Vec<T>) -> Vec<T> {
        a.extend(b);
        a
    }

    fn elements(&mut self, kept: &mut Vec<T>, _: &W, _: &EvictorContext) -> Result<Elements<T>, BoxError> {
        Ok(Elements::many(kept.clone()))
    }

    fn take_elements(&mut self, kept: Vec<T>, _: &W, _: &EvictorContext) -> Result<Elements<T>, BoxError> {
        Ok(Elements::many(kept))
    }
}

/// One record, into which all are folded.
#[derive(Clone)]
pub struct Reduced<F>(pub(crate) F);

impl<T: StateValue, W, F: Fold<T>> Contents<T, W> for Reduced<F> {
    type Kept = T;
    type Item = T;

    #[inline]
    fn add(&mut self, kept: &mut Option<T>, value: T, _time: Option<EventTime>) -> Result<(), BoxError> {
        self.0.fold(kept, value);
        Ok(())
    }

    fn merge(&mut self, a: T, b: T) -> T {
        self.0.join(a, b)
    }

    fn elements(&mut self, kept: &mut T, _: &W, _: &EvictorContext) -> Result<Elements<T>, BoxError> {
        Ok(Elements::one(Some(kept.clone())))
    }

    #[inline]
    fn take_elements(&mut self, kept: T, _: &W, _: &EvictorContext) -> Result<Elements<T>, BoxError> {
        Ok(Elements::one(Some(kept)))
    }
}

/// An accumulator of an [`AggregateFunction`].
#[derive(Clone)]
pub struct Aggregated<A>(pub(crate) A);

impl<T, W, A: AggregateFunction<In = T>> Contents<T, W> for Aggregated<A> {
    type Kept = A::Accumulator;
    type Item = A::Out;

    #[inline]
    fn add(&mut self, kept: &mut Option<A::Accumulator>, value: T, _: Option<EventTime>) -> Result<(), BoxError> {
        let accumulator = kept.get_or_insert_with(|| self.0.create_accumulator());
        self.0.add(value, accumulator);
        Ok(())
    }

    fn merge(&mut self, a: A::Accumulator, b: A::Accumulator) -> A::Accumulator {
        self.0.merge(a, b)
    }

    #[inline]
    fn elements(&mut self, kept: &mut A::Accumulator, _: &W, _: &EvictorContext) -> Result<Elements<A::Out>, BoxError> {
        Ok(Elements::one(Some(self.0.get_result(kept))))
    }
}

/// All records with their times, of which an evictor lets some through to other contents when the window fires.
pub struct Evicted<T, C, E> {
    contents: C,
    evictor: E,
    records: PhantomData<fn() -> T>,
}

impl<T, C: Clone, E: Clone> Clone for Evicted<T, C, E> {
    fn clone(&self) -> Self {
        Self {
            contents: self.contents.clone(),
            evictor: self.evictor.clone(),
            records: PhantomData,
        }
    }
}

impl<T: StateValue, W, C: Contents<T, W>, E: Evictor<T, W>> Contents<T, W> for Evicted<T, C, E> {
    type Kept = Vec<TimestampedValue<T>>;
    type Item = C::Item;

    fn add(&mut self, kept: &mut Option<Self::Kept>, value: T, timestamp: Option<EventTime>) -> Result<(), BoxError> {
        kept.get_or_insert_default().push(TimestampedValue { value, timestamp });
        Ok(())
    }

    fn merge(&mut self, mut a: Self::Kept, b: Self::Kept) -> Self::Kept {
        a.extend(b);
        a
    }

    fn elements(
        &mut self,
        kept: &mut Self::Kept,
        window: &W,
        ctx: &EvictorContext,
    ) -> Result<Elements<C::Item>, BoxError> {
        self.evictor.evict_before(kept, window, ctx)?;
        let mut passed = None;
        for TimestampedValue { value, timestamp } in kept.iter() {
            self.contents.add(&mut passed, value.clone(), *timestamp)?;
        }
        match passed {
            Some(passed) => self.contents.take_elements(passed, window, ctx),
            None => Ok(Elements::one(None)),
        }
    }

    fn fired(&mut self, kept: &mut Option<Self::Kept>, window: &W, ctx: &EvictorContext) -> Result<(), BoxError> {
        if let Some(elements) = kept {
            self.evictor.evict_after(elements, window, ctx)?;
            if elements.is_empty() {
                *kept = None;
            }
        }
        Ok(())
    }
}

/// Whether records are evicted: puts an evictor around contents, or nothing.
pub trait Eviction<T, W>: Clone {
    /// The contents around others.
    type Of<C: Contents<T, W>>: Contents<T, W, Item = C::Item>;

    /// Puts it around contents.
    fn around<C: Contents<T, W>>(self, contents: C) -> Self::Of<C>;
}

/// No evictor.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEvictor;

impl<T, W> Eviction<T, W> for NoEvictor {
    type Of<C: Contents<T, W>> = C;

    fn around<C: Contents<T, W>>(self, contents: C) -> C {
        contents
    }
}

/// An evictor.
#[derive(Debug, Clone)]
pub struct EvictWith<E>(pub(crate) E);

impl<T: StateValue, W, E: Evictor<T, W>> Eviction<T, W> for EvictWith<E> {
    type Of<C: Contents<T, W>> = Evicted<T, C, E>;

    fn around<C: Contents<T, W>>(self, contents: C) -> Evicted<T, C, E> {
        Evicted {
            contents,
            evictor: self.0,
            records: PhantomData,
        }
    }
}
