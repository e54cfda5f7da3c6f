//! The corpus, replayed: no panic, and memory and time within their limits.

#![allow(clippy::unwrap_used, clippy::panic)]

mod bombs;
mod replay;

#[global_allocator]
static ALLOCATOR: flott_fuzz::memory::Counting = flott_fuzz::memory::Counting;
