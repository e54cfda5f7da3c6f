//! Fraud detection: a small payment and soon after it a large one, from one account. What is small, large and soon, rules say, which
//! come as a stream of their own and change while the job runs.
//!
//! In Flink: a `KeyedBroadcastProcessFunction`, its rules in a `MapStateDescriptor` that both sides name. Here `open` declares the broadcast state
//! once; only the broadcast side's context can write it, by its type.
//!
//! Between two streams there is no order, so a rule could come too late for a payment or not, as the network likes. This job gives one answer
//! always, also after a failure: a payment waits until event time has come to it on *both* streams, then is judged by the rules of its
//! time. Where rules are rare, their stream's watermark strategy needs `with_idleness`, or payments wait for the next rule.

use crate::{fields, number, seconds};
use flott::prelude::*;
use serde::{Deserialize, Serialize};

/// Money that leaves an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    account: String,
    cents: i64,
    time_ms: i64,
}

impl Payment {
    /// A line `payment,account,cents,second`.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(line: &str) -> Result<Self, String> {
        let [_, account, cents, second] = fields(line)?;
        Ok(Self {
            account: account.to_owned(),
            cents: number(cents)?,
            time_ms: seconds(second)?,
        })
    }
}

/// A payment below `small_cents`, and one of at least `large_cents` within `within_ms`, are suspicious. Another rule of the same id
/// takes its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, StateValue)]
pub struct Rule {
    id: i64,
    small_cents: i64,
    large_cents: i64,
    within_ms: i64,
    since_ms: i64,
}

impl Rule {
    /// A line `rule,id,small,large,within,since` (times in seconds).
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(line: &str) -> Result<Self, String> {
        let [_, id, small, large, within, since] = fields(line)?;
        Ok(Self {
            id: number(id)?,
            small_cents: number(small)?,
            large_cents: number(large)?,
            within_ms: seconds(within)?,
            since_ms: seconds(since)?,
        })
    }
}

/// Judges the payments of each account.
#[derive(Debug, Clone, Default)]
struct Detector {
    /// Amounts of payments that wait, by their time.
    waiting: MapState<i64, Vec<i64>>,
    /// When the last small payment was, by rule.
    small: MapState<i64, i64>,
    /// All versions of all rules, by when they begin and their id.
    rules: BroadcastState<(i64, i64), Rule>,
}

impl Detector {
    /// The version of each rule that holds at a time.
    fn rules_at(&self, time_ms: i64, ctx: &impl AsBroadcast) -> Vec<Rule> {
        let mut holding: Vec<Rule> = vec![];
        for ((_, id), rule) in self
            .rules
            .entries(ctx)
            .filter(|((since_ms, _), _)| *since_ms <= time_ms)
        {
            holding.retain(|earlier| earlier.id != *id);
            holding.push(rule.clone());
        }
        holding
    }
}

impl KeyedBroadcastProcessFunction<String, Payment, Rule> for Detector {
    type Out = String;

    fn open(&mut self, ctx: &mut OpenKeyedBroadcastContext<'_>) -> Result<(), BoxError> {
        self.waiting = ctx.map_state("waiting")?;
        self.small = ctx.map_state("small")?;
        self.rules = ctx.broadcast_state("rules")?;
        Ok(())
    }

    fn process_element(
        &mut self,
        payment: Payment,
        ctx: &mut ProcessContext<'_, String, String>,
    ) -> Result<(), BoxError> {
        self.waiting.modify(ctx, payment.time_ms, |cents| {
            let mut cents = cents.unwrap_or_default();
            cents.push(payment.cents);
            Some(cents)
        });
        ctx.register_event_time_timer(payment.time_ms);
        Ok(())
    }

    fn process_broadcast_element(
        &mut self,
        rule: Rule,
        ctx: &mut KeyedBroadcastContext<'_, String, String>,
    ) -> Result<(), BoxError> {
        self.rules.put(ctx, (rule.since_ms, rule.id), rule);
        Ok(())
    }

    fn on_timer(&mut self, time_ms: i64, ctx: &mut ProcessContext<'_, String, String>) -> Result<(), BoxError> {
        let payments = self.waiting.get(ctx, &time_ms).cloned().unwrap_or_default();
        self.waiting.remove(ctx, &time_ms);
        let rules = self.rules_at(time_ms, ctx);
        for cents in payments {
            for rule in &rules {
                let small_ms = self.small.get(ctx, &rule.id).copied();
                if cents >= rule.large_cents
                    && let Some(small_ms) = small_ms
                    && time_ms - small_ms <= rule.within_ms
                {
                    let account = ctx.current_key().clone();
                    ctx.collect(format!(
                        "{account},rule {},{cents} cents at {} s",
                        rule.id,
                        time_ms / 1000
                    ));
                    self.small.remove(ctx, &rule.id);
                } else if cents < rule.small_cents {
                    self.small.put(ctx, rule.id, time_ms);
                    // To forget it when it is too old.
                    ctx.register_event_time_timer(time_ms + rule.within_ms + 1);
                }
            }
        }
        for rule in &rules {
            if self
                .small
                .get(ctx, &rule.id)
                .is_some_and(|at_ms| time_ms - at_ms > rule.within_ms)
            {
                self.small.remove(ctx, &rule.id);
            }
        }
        Ok(())
    }
}

/// A text for each suspicious payment.
pub fn fraud_detection(payments: &DataStream<Payment>, rules: &DataStream<Rule>) -> DataStream<String> {
    let rules = rules
        .assign_timestamps_and_watermarks(
            &WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|rule: &Rule, _| rule.since_ms),
        )
        .broadcast_stream();
    payments
        .assign_timestamps_and_watermarks(
            &WatermarkStrategy::for_monotonous_timestamps()
                .with_timestamp_assigner(|payment: &Payment, _| payment.time_ms),
        )
        .key_by(|payment| payment.account.clone())
        .connect_broadcast(&rules)
        .process(Detector::default())
        .name("Fraud Detector")
}
