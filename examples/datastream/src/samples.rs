//! All programs of this crate as jobs from lines to lines, with an input and the rows that come of it.

use crate::{
    clicks_per_window, fraud_detection, marked_batches, order_timeout, rising_sales, running_clicks, sensor_anomaly,
    times_two, trending_items, website_traffic, word_count,
};
use flott::datastream::text::write_text;
use flott::prelude::*;

/// A program as a job from lines to lines.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// What it is called.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Lines to read.
    pub input: &'static str,
    /// What it makes of them; in this order where only one subtask works.
    pub golden: &'static str,
    /// Whether records of one key must come in the order of their lines. Then it runs with a parallelism of one: lines of one file are
    /// spread over subtasks by turns, while a topic has a partition for each key.
    pub needs_order: bool,
    /// Describes it; an error is one of its SQL, where it has some.
    pub describe: fn(&DataStream<String>) -> Result<DataStream<String>, TableError>,
}

macro_rules! sample {
    ($name:literal, $about:literal, needs_order: $needs_order:literal, $describe:expr) => {
        sample!($name, $about, needs_order: $needs_order, with_sql: |lines| {
            let describe: fn(&DataStream<String>) -> DataStream<String> = $describe;
            Ok(describe(lines))
        })
    };
    ($name:literal, $about:literal, needs_order: $needs_order:literal, with_sql: $describe:expr) => {
        Sample {
            name: $name,
            about: $about,
            input: include_str!(concat!("../golden/", $name, ".in.txt")),
            golden: include_str!(concat!("../golden/", $name, ".out.txt")),
            needs_order: $needs_order,
            describe: $describe,
        }
    };
}

/// All of them.
pub const SAMPLES: &[Sample] = &[
    sample!("times-two", "doubles numbers", needs_order: false, |lines| {
        text(&times_two::times_two(
            &lines.try_map(|line: String| line.parse::<i64>()),
        ))
    }),
    sample!("word-count", "counts words, at each word", needs_order: false, |lines| {
        text(&word_count::word_count(lines))
    }),
    sample!("website-traffic", "sums visits per website and minute", needs_order: false, |lines| {
        let (stats, bad_lines) = website_traffic::website_traffic(&with_given_times(lines));
        stats.union(&[&bad_lines.map(|line| format!("bad line: {line}"))])
    }),
    sample!("clicks-per-window", "sums clicks in three kinds of windows", needs_order: false, |lines| {
        let events =
            clicks_per_window::with_times(&lines.try_map(|line: String| clicks_per_window::Event::parse(&line)));
        let tumbling = clicks_per_window::clicks_per_five_seconds(&events).map(|text| format!("tumbling {text}"));
        let sliding = clicks_per_window::clicks_of_five_minutes(&events).map(|text| format!("sliding {text}"));
        let visits = clicks_per_window::clicks_per_visit(&events).map(|text| format!("visit {text}"));
        tumbling.union(&[&sliding, &visits])
    }),
    sample!(
        "running-clicks",
        "adds the clicks of the user so far to each click", needs_order: true,
        |lines| {
            let events = lines.try_map(|line: String| running_clicks::Event::parse(&line));
            text(&running_clicks::running_clicks(&events))
        }
    ),
    sample!(
        "fraud-detection",
        "finds small payments before large ones, by rules that change", needs_order: false,
        |lines| {
            let is_rule = |line: &String| line.starts_with("rule,");
            let rules = lines.filter(is_rule);
            let payments = lines.filter(move |line| !is_rule(line));
            fraud_detection::fraud_detection(
                &payments.try_map(|line: String| fraud_detection::Payment::parse(&line)),
                &rules.try_map(|line: String| fraud_detection::Rule::parse(&line)),
            )
        }
    ),
    sample!("order-timeout", "cancels orders that are not paid in time", needs_order: true, |lines| {
        let events = lines.try_map(|line: String| order_timeout::OrderEvent::parse(&line));
        let paid = order_timeout::order_timeout(&events);
        let cancel = paid
            .get_side_output(&order_timeout::cancel())
            .map(|order| format!("{order},cancel"));
        let refund = paid
            .get_side_output(&order_timeout::refund())
            .map(|order| format!("{order},refund"));
        paid.union(&[&cancel, &refund])
    }),
    sample!("sensor-anomaly", "finds unusual readings and silent devices", needs_order: true, |lines| {
        sensor_anomaly::sensor_anomaly(&lines.try_map(|line: String| sensor_anomaly::Reading::parse(&line)))
    }),
    sample!("trending-items", "ranks the items of sliding windows", needs_order: false, |lines| {
        trending_items::trending_items(&lines.try_map(|line: String| trending_items::View::parse(&line)))
    }),
    sample!("marked-batches", "ends windows where a record says so", needs_order: true, |lines| {
        marked_batches::marked_batches(&lines.try_map(|line: String| marked_batches::MachineReport::parse(&line)))
    }),
    sample!(
        "rising-sales",
        "sums sales per minute in SQL, and finds those that rise", needs_order: false,
        with_sql: |lines| rising_sales::rising_sales(&lines.try_map(|line: String| rising_sales::Sale::parse(&line)))
    ),
];

/// Records as text, as `print` shows them.
fn text<T: Data>(records: &DataStream<T>) -> DataStream<String> {
    records.try_map(|record| {
        let mut text = String::new();
        write_text(&record, &mut text).map(|()| text)
    })
}

/// Lines that stand behind their times, `milliseconds line`, as a source gives them that knows times itself.
fn with_given_times(lines: &DataStream<String>) -> DataStream<String> {
    let strategy = WatermarkStrategy::for_bounded_out_of_orderness(std::time::Duration::from_secs(5))
        .with_timestamp_assigner(|timed: &(i64, String), _| timed.0);
    lines
        .try_map(|line: String| {
            let (time_ms, line) = line.split_once(' ').ok_or_else(|| format!("'{line}' has no time"))?;
            Ok::<_, String>((crate::number(time_ms)?, line.to_owned()))
        })
        .assign_timestamps_and_watermarks(&strategy)
        .map(|timed| timed.1)
}
