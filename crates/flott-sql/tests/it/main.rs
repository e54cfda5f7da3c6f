//! What the SQL front end does with whole scripts, against connectors that check tables and run nothing.

mod connectors;
mod errors;
mod parity;
mod plans;
mod scripts;
mod snapshot;
