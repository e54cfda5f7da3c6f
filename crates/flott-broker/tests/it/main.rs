//! The broker from outside: over connections, and through the hooks that only an embedder has.

mod append;
mod conformance;
mod faults;
mod kcat;
mod support;
mod wire;
