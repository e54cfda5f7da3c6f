//! Programs of the DataStream API: Flink's usual samples, as its users would port them.
//!
//! One file a program; each begins with what it does and with how Flink says what reads differently here. A program is a function from streams to
//! streams, so that its source and sink can be chosen: the command (`main.rs`) reads the bundled input or a file that grows, tests read
//! what they feed and kill, and your own would read Kafka.
//!
//! | program | shows |
//! |---|---|
//! | [`times_two`] | a collection, `map` |
//! | [`word_count`] | a tokenizer struct, `key_by`, a rolling `sum` |
//! | [`website_traffic`] | parsing with a side output for bad lines, windows of a minute |
//! | [`clicks_per_window`] | tumbling, sliding and session windows of event time |
//! | [`running_clicks`] | `ValueState` |
//! | [`fraud_detection`] | `MapState`, event-time timers, rules in broadcast state |
//! | [`order_timeout`] | a deadline by timer, commands on side outputs |
//! | [`sensor_anomaly`] | a running profile of each device, and devices that fall silent |
//! | [`trending_items`] | the top of a sliding window |
//! | [`marked_batches`] | a trigger of one's own |
//! | [`rising_sales`] | SQL over a stream, state over its result |
//!
//! [`kafka`] has those that read and write Kafka, whole; [`lines`] is a source and a sink of one's own, exactly once.

pub mod clicks_per_window;
pub mod fraud_detection;
pub mod kafka;
pub mod lines;
pub mod marked_batches;
pub mod order_timeout;
pub mod rising_sales;
pub mod running_clicks;
pub mod samples;
pub mod sensor_anomaly;
pub mod times_two;
pub mod trending_items;
pub mod website_traffic;
pub mod word_count;

/// The fields of a comma-separated line.
///
/// # Errors
/// If it has more or fewer.
pub(crate) fn fields<const N: usize>(line: &str) -> Result<[&str; N], String> {
    let fields: Vec<&str> = line.split(',').collect();
    let wrong = |fields: Vec<&str>| format!("'{line}' has {} fields, {N} are expected", fields.len());
    fields.try_into().map_err(wrong)
}

/// A number in a line.
///
/// # Errors
/// If it is none.
pub(crate) fn number<N: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<N, String> {
    text.trim().parse().map_err(|e| format!("'{text}': {e}"))
}

/// Seconds in a line, as the milliseconds of event time.
///
/// # Errors
/// If they are no number.
pub(crate) fn seconds(text: &str) -> Result<i64, String> {
    Ok(number::<i64>(text)? * 1000)
}
