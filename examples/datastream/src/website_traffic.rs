//! Website traffic: visits per website and minute.
//!
//! Flink's `timeWindow(Time.seconds(60))` is gone since 2.0 and has meant event time since 1.12, so the window is named here, and times come from the
//! source: those of Kafka's records, if it is Kafka. A line that is no visit ends Flink's sample with an exception; this one goes on and
//! gives it to a side output.

use crate::{fields, number};
use flott::prelude::*;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A line of the log. Private fields are fine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, StateValue)]
pub struct WebsiteVisit {
    website: String,
    user: String,
    count: i64,
}

impl WebsiteVisit {
    fn parse(line: &str) -> Result<Self, String> {
        let [website, user, count] = fields(line)?;
        Ok(Self {
            website: website.to_owned(),
            user: user.to_owned(),
            count: number(count)?,
        })
    }
}

/// Lines that are no visits.
pub fn bad_lines() -> OutputTag<String> {
    OutputTag::new("bad-lines")
}

/// Parses lines. Flink gives side outputs to a `ProcessFunction` alone, too.
#[derive(Debug, Clone)]
struct Parse {
    bad_lines: OutputTag<String>,
}

impl ProcessFunction<String> for Parse {
    type Out = WebsiteVisit;

    fn process_element(&mut self, line: String, ctx: &mut Context<'_, WebsiteVisit>) -> Result<(), BoxError> {
        match WebsiteVisit::parse(&line) {
            Ok(visit) => ctx.collect(visit),
            Err(_) => ctx.output(&self.bad_lines, line),
        }
        Ok(())
    }
}

/// `website,sum` for each minute, and the lines that are no visits.
pub fn website_traffic(lines: &DataStream<String>) -> (DataStream<String>, DataStream<String>) {
    let visits = lines.process(Parse { bad_lines: bad_lines() }).name("Parse");
    let stats = visits
        .key_by(|visit| visit.website.clone())
        .window(TumblingEventTimeWindows::of(Duration::from_secs(60)))
        .sum(|visit| &mut visit.count)
        .map(|visit| format!("{},{}", visit.website, visit.count));
    (stats, visits.get_side_output(&bad_lines()))
}
