//! Running clicks: each click event with the clicks of its user so far.
//!
//! Flink's sample is a `RichFlatMapFunction` on a keyed stream that asks the runtime context for a `ValueState`. Here only functions of keyed
//! streams can declare keyed state, so that its wrong use does not compile, and the handle reads and writes through the context of the
//! call: there is no key at hand elsewhere. `value()` is an `Option`, not null.

use crate::{fields, number};
use flott::prelude::*;
use serde::{Deserialize, Serialize};

/// Clicks of a user; `click_count` is what the job adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    user_id: String,
    clicks: i64,
    click_count: i64,
}

impl Event {
    /// A line `user,clicks`.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(line: &str) -> Result<Self, String> {
        let [user_id, clicks] = fields(line)?;
        Ok(Self {
            user_id: user_id.to_owned(),
            clicks: number(clicks)?,
            click_count: 0,
        })
    }
}

/// Keeps the clicks of each user.
#[derive(Debug, Clone, Default)]
struct ClickCount {
    count: ValueState<i64>,
}

impl KeyedProcessFunction<String, Event> for ClickCount {
    type Out = Event;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.count = ctx.value_state("clickCount")?;
        Ok(())
    }

    fn process_element(
        &mut self,
        mut event: Event,
        ctx: &mut ProcessContext<'_, String, Event>,
    ) -> Result<(), BoxError> {
        let count = self.count.value(ctx).unwrap_or(&0) + event.clicks;
        self.count.update(ctx, count);
        event.click_count = count;
        ctx.collect(event);
        Ok(())
    }
}

/// Adds the clicks of the user so far to each event.
pub fn running_clicks(events: &DataStream<Event>) -> DataStream<Event> {
    events
        .key_by(|event| event.user_id.clone())
        .process(ClickCount::default())
}
