//! Exchanges inside a process: channels bounded in bytes, the scatter in front of them and the gate behind them.
//!
//! ```text
//!  chain ──► Router ──► Channel ──► InputGate ──► chain
//!            scatter    bytes       barriers aligned, watermarks merged
//! ```
//! A [`Router`] never refuses an element: the driver asks [`Router::has_room`] before it lets an operator emit, so a
//! channel exceeds its bound by what one call emits at most. The gate does not read a channel whose barrier has come
//! until the barrier of every other channel has.
//!
//! Within a process elements are handed over as they are. An [`encoded_channel`] holds the [`frame`]s that would go
//! between processes instead, which is how tests run every exchange through them.

mod channel;
pub mod frame;
mod gate;
mod router;

pub use channel::{Receiver, Sender, channel, encoded_channel};
pub use frame::RowsForm;
pub use gate::{GateEvent, InputGate};
pub use router::{Router, RouterEdge};
