//! Order time-out: an order that is not paid within a quarter of an hour is cancelled; a payment that finds no open order is paid back.
//!
//! Flink's `KeyedProcessFunction` with an event-time timer. `OutputTag`s need no anonymous subclass here: their type is known.

use crate::{fields, seconds};
use flott::prelude::*;
use serde::{Deserialize, Serialize};

/// How long an order may stay unpaid.
const DEADLINE_MS: i64 = 15 * 60 * 1000;

/// What happens to orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// It was made.
    Created,
    /// Its money came.
    Paid,
}

/// A step of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderEvent {
    order: String,
    step: Step,
    time_ms: i64,
}

impl OrderEvent {
    /// A line `order,created|paid,second`.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(line: &str) -> Result<Self, String> {
        let [order, step, second] = fields(line)?;
        let step = match step {
            "created" => Step::Created,
            "paid" => Step::Paid,
            other => return Err(format!("'{other}' is no step of an order: created, paid")),
        };
        Ok(Self {
            order: order.to_owned(),
            step,
            time_ms: seconds(second)?,
        })
    }
}

/// Orders to be cancelled.
pub fn cancel() -> OutputTag<String> {
    OutputTag::new("cancel-order")
}

/// Payments to be sent back.
pub fn refund() -> OutputTag<String> {
    OutputTag::new("refund-payment")
}

/// Waits for the payment of each order.
#[derive(Debug, Clone)]
struct AwaitPayment {
    cancel: OutputTag<String>,
    refund: OutputTag<String>,
    /// When the order was made, while it is open.
    created: ValueState<i64>,
}

impl KeyedProcessFunction<String, OrderEvent> for AwaitPayment {
    type Out = String;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.created = ctx.value_state("created")?;
        Ok(())
    }

    fn process_element(
        &mut self,
        event: OrderEvent,
        ctx: &mut ProcessContext<'_, String, String>,
    ) -> Result<(), BoxError> {
        match event.step {
            Step::Created => {
                self.created.update(ctx, event.time_ms);
                ctx.register_event_time_timer(event.time_ms + DEADLINE_MS);
            }
            Step::Paid => match self.created.entry(ctx).take() {
                Some(created_ms) => {
                    ctx.delete_event_time_timer(created_ms + DEADLINE_MS);
                    let after_ms = event.time_ms - created_ms;
                    if after_ms <= DEADLINE_MS {
                        ctx.collect(format!("{},paid after {} s", event.order, after_ms / 1000));
                    } else {
                        // The watermark, which fires timers, is always a little behind the records.
                        ctx.output(&self.cancel, event.order.clone());
                        ctx.output(&self.refund, event.order);
                    }
                }
                None => ctx.output(&self.refund, event.order),
            },
        }
        Ok(())
    }

    fn on_timer(&mut self, _time_ms: i64, ctx: &mut ProcessContext<'_, String, String>) -> Result<(), BoxError> {
        self.created.clear(ctx);
        let order = ctx.current_key().clone();
        ctx.output(&self.cancel, order);
        Ok(())
    }
}

/// Orders that were paid in time. [`cancel`] and [`refund`] are side outputs of the stream.
pub fn order_timeout(events: &DataStream<OrderEvent>) -> DataStream<String> {
    let strategy =
        WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|event: &OrderEvent, _| event.time_ms);
    events
        .assign_timestamps_and_watermarks(&strategy)
        .key_by(|event| event.order.clone())
        .process(AwaitPayment {
            cancel: cancel(),
            refund: refund(),
            created: ValueState::default(),
        })
        .name("Await Payment")
}
