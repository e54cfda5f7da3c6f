//! Exchanges between tasks: channels bounded in bytes, the scatter in front of them and the gate behind them.
//!
//! ```text
//!  chain ──► Router ──► Channel ──► InputGate ──► chain
//!            scatter    bytes       barriers aligned, watermarks merged
//! ```
//! A [`Router`] never refuses an element: the driver asks [`Router::has_room`] before it lets an operator emit, so a
//! channel exceeds its bound by what one call emits at most. The gate does not read a channel whose barrier has come
//! until the barrier of every other channel has. A barrier that may overtake is not waited for: what it overtakes is recorded
//! ([`in_flight`]).
//!
//! Within a process elements are handed over as they are. Between processes they are [`frame`]s: an [`outgoing_channel`] and
//! an [`incoming_channel`] are the two halves of a channel, and the [`network`] moves bytes from one to the other. An
//! [`encoded_channel`] holds frames within a process, which is how tests run every exchange through them.

mod channel;
pub mod frame;
mod gate;
pub mod in_flight;
pub mod network;
mod router;

pub use channel::{Incoming, Outgoing, Receiver, Sender, channel, encoded_channel, incoming_channel, outgoing_channel};
pub use frame::RowsForm;
pub use gate::{GateEvent, InputGate};
pub use in_flight::{InFlight, Recorded, Spread};
pub use network::{Exchange, ExchangeId, ExchangeService, Peer};
pub use router::{EdgeReader, Router, RouterEdge};
