//! What the SQL front end does with whole scripts, against connectors that check tables and run nothing.

#[cfg(test)]
mod connectors;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod parity;
#[cfg(test)]
mod plans;
#[cfg(test)]
mod scripts;
#[cfg(test)]
mod snapshot;
