//! Values as text, the way Java and Flink read and write them; shared by the formats.

pub(crate) mod bytes;
pub(crate) mod decimal;
pub(crate) mod number;
pub(crate) mod time;
