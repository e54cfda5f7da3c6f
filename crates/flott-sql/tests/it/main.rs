//! What the SQL front end does with whole scripts, against connectors that check tables and run nothing; and what the engine
//! answers, straight and varied, where the answer is known.

#[cfg(test)]
mod capture;
#[cfg(test)]
mod catalogs;
#[cfg(test)]
mod connectors;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod goldens;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod parity;
#[cfg(test)]
mod plans;
#[cfg(test)]
mod scripts;
#[cfg(test)]
mod snapshot;
#[cfg(test)]
mod statements;
#[cfg(test)]
mod stepped;
#[cfg(test)]
mod types;
#[cfg(test)]
mod variations;
