//! What ties connectors to the types of streams: [`TypedSource`] and [`TypedSink`].
//!
//! The runtime moves batches and knows no types, so its sources and sinks have none either. A program's say here which records
//! their batches hold, as [`crate::Records`], and a stream of something else does not compile.

use crate::records::Data;
use flott_runtime::{Sink, Source};

pub use crate::operators::{AtHand, guarded};

/// A source whose batches are [`crate::Records`] of [`Self::Out`]. A record's time in them is what a timestamp assigner is given, and
/// the event time where there is no assigner.
pub trait TypedSource: Source + 'static {
    /// What it gives.
    type Out: Data;
}

/// A sink that takes batches of [`crate::Records`] of `T`.
pub trait TypedSink<T: Data>: Sink + 'static {}
