//! Trending items: the three most viewed items of the last minute, each half minute.
//!
//! Two steps, as in Flink: views are counted by item in sliding windows, incrementally (`aggregate` with a `ProcessWindowFunction` that adds the window's
//! end); then the counts of one window meet under its end as key, wait in a `ListState`, and a timer behind the window's end ranks them.

use crate::{fields, seconds};
use flott::prelude::*;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::time::Duration;

/// Somebody looked at an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    item: String,
    time_ms: i64,
}

impl View {
    /// A line `item,second`.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(line: &str) -> Result<Self, String> {
        let [item, second] = fields(line)?;
        Ok(Self {
            item: item.to_owned(),
            time_ms: seconds(second)?,
        })
    }
}

/// Counts.
#[derive(Debug, Clone, Copy)]
struct Count;

impl AggregateFunction for Count {
    type In = View;
    type Accumulator = i64;
    type Out = i64;

    fn create_accumulator(&self) -> i64 {
        0
    }

    fn add(&self, _view: View, count: &mut i64) {
        *count += 1;
    }

    fn get_result(&self, count: &i64) -> i64 {
        *count
    }

    fn merge(&self, a: i64, b: i64) -> i64 {
        a + b
    }
}

/// How often an item was viewed in a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, StateValue)]
struct ItemViews {
    item: String,
    window_end: i64,
    views: i64,
}

/// Adds item and window to a count.
#[derive(Debug, Clone, Copy)]
struct WithWindow;

impl ProcessWindowFunction<String, i64, TimeWindow> for WithWindow {
    type Out = ItemViews;

    fn process(
        &mut self,
        counts: Elements<i64>,
        ctx: &mut WindowContext<'_, String, TimeWindow, ItemViews>,
    ) -> Result<(), BoxError> {
        let (item, window_end) = (ctx.key().clone(), ctx.window().end());
        // Of an aggregate there is one element.
        for views in counts {
            ctx.collect(ItemViews {
                item: item.clone(),
                window_end,
                views,
            });
        }
        Ok(())
    }
}

/// Ranks the items of a window when all are there.
#[derive(Debug, Clone)]
struct TopItems {
    size: usize,
    items: ListState<ItemViews>,
}

impl KeyedProcessFunction<i64, ItemViews> for TopItems {
    type Out = String;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.items = ctx.list_state("items")?;
        Ok(())
    }

    fn process_element(&mut self, views: ItemViews, ctx: &mut ProcessContext<'_, i64, String>) -> Result<(), BoxError> {
        ctx.register_event_time_timer(views.window_end + 1);
        self.items.add(ctx, views);
        Ok(())
    }

    fn on_timer(&mut self, _time_ms: i64, ctx: &mut ProcessContext<'_, i64, String>) -> Result<(), BoxError> {
        let mut items: Vec<ItemViews> = self.items.get(ctx).to_vec();
        self.items.clear(ctx);
        items.sort_by(|a, b| (Reverse(a.views), &a.item).cmp(&(Reverse(b.views), &b.item)));
        let top = items.iter().take(self.size).map(|i| format!("{} {}", i.item, i.views));
        let top: Vec<String> = top.collect();
        let end = ctx.current_key() / 1000;
        ctx.collect(format!("{end} s: {}", top.join(", ")));
        Ok(())
    }
}

/// A text for each window.
pub fn trending_items(views: &DataStream<View>) -> DataStream<String> {
    let strategy = WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_secs(5))
        .with_timestamp_assigner(|view: &View, _| view.time_ms);
    let (minute, slide) = (Duration::from_secs(60), Duration::from_secs(30));
    views
        .assign_timestamps_and_watermarks(&strategy)
        .key_by(|view| view.item.clone())
        .window(SlidingEventTimeWindows::of(minute, slide))
        .aggregate_with(Count, WithWindow)
        .key_by(|views| views.window_end)
        .process(TopItems {
            size: 3,
            items: ListState::default(),
        })
        .name("Top Items")
}
