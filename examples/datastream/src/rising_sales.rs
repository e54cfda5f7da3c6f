//! Rising sales: SQL sums the sales of each shop per minute, and a function with state finds the shops that sold more than in the minute before.
//!
//! In Flink it is the same with `StreamTableEnvironment.create(env)`, `createTemporaryView`, `sqlQuery` and `toDataStream`. The table's columns are the
//! fields of [`Sale`]; its event time is that of the stream (`rowtime`), whose watermarks go on into SQL (`SOURCE_WATERMARK()`). What comes back
//! are structs again, whose event time is the last moment of their window. It is one job with one checkpoint.

use crate::{fields, number, seconds};
use flott::prelude::*;
use flott::table::Decimal;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Something was sold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StateValue)]
pub struct Sale {
    shop: String,
    amount: Decimal<10, 2>,
    time_ms: i64,
}

impl Sale {
    /// A line `shop,amount,second`.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(line: &str) -> Result<Self, String> {
        let [shop, amount, second] = fields(line)?;
        Ok(Self {
            shop: shop.to_owned(),
            amount: number(amount)?,
            time_ms: seconds(second)?,
        })
    }
}

/// What a shop sold in a minute: the columns of the query by their names.
#[derive(Debug, Clone, Serialize, Deserialize, StateValue)]
struct Minute {
    shop: String,
    total: Decimal<38, 2>,
}

/// Remembers the minute before.
#[derive(Debug, Clone, Default)]
struct Rising {
    before: ValueState<Decimal<38, 2>>,
}

impl KeyedProcessFunction<String, Minute> for Rising {
    type Out = String;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.before = ctx.value_state("before")?;
        Ok(())
    }

    fn process_element(
        &mut self,
        minute: Minute,
        ctx: &mut ProcessContext<'_, String, String>,
    ) -> Result<(), BoxError> {
        let before = self.before.value(ctx).copied();
        self.before.update(ctx, minute.total);
        if let Some(before) = before.filter(|before| *before < minute.total) {
            let number = ctx.timestamp().ok_or("a window has a time")? / 60_000;
            let Minute { shop, total } = minute;
            ctx.collect(format!("minute {number}: {shop} rose from {before} to {total}"));
        }
        Ok(())
    }
}

/// A text for each shop and minute in which sales rose.
///
/// # Errors
/// If the query does not fit the records, which the tests rule out.
pub fn rising_sales(sales: &DataStream<Sale>) -> Result<DataStream<String>, TableError> {
    let strategy = WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_secs(5))
        .with_timestamp_assigner(|sale: &Sale, _| sale.time_ms);
    let sales = sales.assign_timestamps_and_watermarks(&strategy);
    let tables = StreamTableEnvironment::create(&sales.get_execution_environment())?;
    let schema = Schema::new()
        .column_by_metadata("rowtime", "TIMESTAMP_LTZ(3)")
        .watermark("rowtime", "SOURCE_WATERMARK()");
    let sales = tables.from_data_stream_with(&sales, schema)?;
    let minutes = tables.sql_query(&format!(
        "SELECT shop, SUM(amount) AS total, window_time
         FROM TUMBLE(TABLE {sales}, DESCRIPTOR(rowtime), INTERVAL '1' MINUTE)
         GROUP BY shop, window_start, window_end, window_time"
    ))?;
    let minutes = tables.to_data_stream::<Minute>(&minutes)?.uid("minutes");
    let rising = minutes.key_by(|minute| minute.shop.clone()).process(Rising::default());
    Ok(rising.name("Rising"))
}
