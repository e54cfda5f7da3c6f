//! The options that planning reads, typed once and checked.

use crate::error::{SqlError, SqlResult, Step};
use crate::nodes::{MiniBatch, NestedEnforcer, NotNullEnforcer, TypeLengthEnforcer};
use flott_core::Options;
use flott_core::key_group::default_max_parallelism;
use flott_core::options::OptionError;

/// `table.optimizer.agg-phase-strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AggPhase {
    /// Two phases where the aggregates allow it.
    Auto,
    /// One phase.
    One,
    /// Two phases where the aggregates allow it.
    Two,
}

/// `table.exec.sink.upsert-materialize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpsertMaterialize {
    /// Never.
    None,
    /// Where the sink's primary key does not hold the key of the query's updates.
    Auto,
    /// Before every sink with a primary key that gets changes.
    Force,
}

/// `table.exec.sink.keyed-shuffle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyedShuffle {
    /// Never.
    None,
    /// Where the sink's parallelism is above 1 and not that of its input.
    Auto,
    /// Where the sink's parallelism is above 1.
    Force,
}

/// When windows fire besides at their ends, as `table.exec.emit.*` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EmitConfig {
    /// Delay of `early-fire`, if it is enabled; 0: at every row.
    pub early_ms: Option<u64>,
    /// Delay of `late-fire`, if it is enabled; 0: at every row.
    pub late_ms: Option<u64>,
    /// `allow-lateness`, else `table.exec.state.ttl`.
    pub lateness_ms: u64,
}

impl EmitConfig {
    fn of(options: &Options) -> SqlResult<Self> {
        let delay = |fire: &str| -> SqlResult<Option<u64>> {
            let enabled = options.boolean(&format!("table.exec.emit.{fire}.enabled"));
            let delay = duration(options, &format!("table.exec.emit.{fire}.delay"))?;
            Ok((enabled.map_err(wrong)? == Some(true)).then(|| delay.unwrap_or(0)))
        };
        let ttl_ms = duration(options, "table.exec.state.ttl")?;
        Ok(Self {
            early_ms: delay("early-fire")?,
            late_ms: delay("late-fire")?,
            lateness_ms: duration(options, "table.exec.emit.allow-lateness")?
                .or(ttl_ms)
                .unwrap_or(0),
        })
    }
}

/// What planning reads of a job's options.
#[derive(Debug, Clone)]
pub struct PlannerConfig {
    /// `parallelism.default`
    pub parallelism: usize,
    /// `pipeline.max-parallelism`
    pub max_parallelism: Option<usize>,
    /// `table.local-time-zone`
    pub time_zone: String,
    /// `table.optimizer.agg-phase-strategy`
    pub agg_phase: AggPhase,
    /// `table.optimizer.distinct-agg.split.bucket-num`, if `.enabled`
    pub split_distinct: Option<u32>,
    /// `table.optimizer.incremental-agg-enabled`
    pub incremental: bool,
    /// `table.exec.emit.*`
    pub emit: EmitConfig,
    /// `table.exec.mini-batch.*`, if it is on.
    pub mini_batch: Option<MiniBatch>,
    /// `table.exec.state.ttl` in ms; 0: kept for ever.
    pub state_ttl_ms: u64,
    /// `table.exec.source.idle-timeout` in ms.
    pub idle_timeout_ms: Option<i64>,
    /// `pipeline.auto-watermark-interval` in ms; 0: after every row.
    pub watermark_interval_ms: Option<i64>,
    /// `table.exec.sink.not-null-enforcer`
    pub not_null: NotNullEnforcer,
    /// `table.exec.sink.type-length-enforcer`
    pub type_length: TypeLengthEnforcer,
    /// `table.exec.sink.nested-constraint-enforcer`
    pub nested: NestedEnforcer,
    /// `table.exec.source.cdc-events-duplicate`
    pub cdc_events_duplicate: bool,
    /// `table.exec.sink.upsert-materialize`
    pub upsert_materialize: UpsertMaterialize,
    /// `table.exec.sink.keyed-shuffle`
    pub keyed_shuffle: KeyedShuffle,
    /// `pipeline.operator-chaining.enabled`
    pub chaining: bool,
    /// `pipeline.name`
    pub name: Option<String>,
}

fn wrong(error: OptionError) -> SqlError {
    SqlError::new(Step::Option, error.to_string())
}

fn choice<T: Copy>(options: &Options, key: &str, values: &[(&str, T)], default: T) -> SqlResult<T> {
    let names: Vec<&str> = values.iter().map(|(n, _)| *n).collect();
    let found = options.one_of(key, &names).map_err(wrong)?;
    Ok(found.map_or(default, |i| values[i].1))
}

fn duration(options: &Options, key: &str) -> SqlResult<Option<u64>> {
    let ms = options.duration_ms(key).map_err(wrong)?;
    Ok(ms.and_then(|ms| u64::try_from(ms).ok()).filter(|ms| *ms > 0))
}

impl PlannerConfig {
    /// Reads the options of a job.
    ///
    /// # Errors
    /// If one has a value that it cannot have, or needs another one; the error names it and what is allowed.
    pub fn of(options: &Options) -> SqlResult<Self> {
        let mut config = Self::read(options)?;
        config.mini_batch = mini_batch(options)?;
        if let Some(max) = config.max_parallelism
            && config.parallelism > max
        {
            return Err(SqlError::new(
                Step::Option,
                format!(
                    "the parallelism {} is above 'pipeline.max-parallelism' = {max}",
                    config.parallelism
                ),
            ));
        }
        Ok(config)
    }

    /// Checks each option by itself: what SET can know before the others are set.
    ///
    /// # Errors
    /// If one has a value that it cannot have.
    pub fn check_values(options: &Options) -> SqlResult<()> {
        duration(options, "table.exec.mini-batch.allow-latency")?;
        options
            .one_of("sql-client.execution.result-mode", &["table", "changelog", "tableau"])
            .map_err(wrong)?;
        options.boolean("table.exec.mini-batch.enabled").map_err(wrong)?;
        options.integer("table.exec.mini-batch.size").map_err(wrong)?;
        Self::read(options).map(|_| ())
    }

    fn read(options: &Options) -> SqlResult<Self> {
        check_mode(options)?;
        let parallelism = options.positive("parallelism.default").map_err(wrong)?;
        let resource = options.positive("table.exec.resource.default-parallelism");
        let parallelism = match resource {
            Ok(Some(n)) => n,
            _ => parallelism.unwrap_or(1),
        };
        let max_parallelism = options.positive("pipeline.max-parallelism").map_err(wrong)?;
        Ok(Self {
            parallelism,
            max_parallelism,
            time_zone: time_zone(options)?,
            agg_phase: choice(
                options,
                "table.optimizer.agg-phase-strategy",
                &[
                    ("AUTO", AggPhase::Auto),
                    ("ONE_PHASE", AggPhase::One),
                    ("TWO_PHASE", AggPhase::Two),
                ],
                AggPhase::Auto,
            )?,
            split_distinct: split_distinct(options)?,
            incremental: options
                .boolean("table.optimizer.incremental-agg-enabled")
                .map_err(wrong)?
                .unwrap_or(true),
            emit: EmitConfig::of(options)?,
            mini_batch: None,
            state_ttl_ms: duration(options, "table.exec.state.ttl")?.unwrap_or(0),
            idle_timeout_ms: duration(options, "table.exec.source.idle-timeout")?.and_then(|ms| i64::try_from(ms).ok()),
            watermark_interval_ms: options.duration_ms("pipeline.auto-watermark-interval").map_err(wrong)?,
            not_null: choice(
                options,
                "table.exec.sink.not-null-enforcer",
                &[("ERROR", NotNullEnforcer::Error), ("DROP", NotNullEnforcer::Drop)],
                NotNullEnforcer::Error,
            )?,
            type_length: choice(
                options,
                "table.exec.sink.type-length-enforcer",
                &[
                    ("IGNORE", TypeLengthEnforcer::Ignore),
                    ("TRIM_PAD", TypeLengthEnforcer::TrimPad),
                    ("ERROR", TypeLengthEnforcer::Error),
                ],
                TypeLengthEnforcer::Ignore,
            )?,
            nested: choice(
                options,
                "table.exec.sink.nested-constraint-enforcer",
                &[
                    ("IGNORE", NestedEnforcer::Ignore),
                    ("ROWS", NestedEnforcer::Rows),
                    ("ROWS_AND_COLLECTIONS", NestedEnforcer::RowsAndCollections),
                ],
                NestedEnforcer::Ignore,
            )?,
            cdc_events_duplicate: options
                .boolean("table.exec.source.cdc-events-duplicate")
                .map_err(wrong)?
                .unwrap_or(false),
            upsert_materialize: choice(
                options,
                "table.exec.sink.upsert-materialize",
                &[
                    ("NONE", UpsertMaterialize::None),
                    ("AUTO", UpsertMaterialize::Auto),
                    ("FORCE", UpsertMaterialize::Force),
                ],
                UpsertMaterialize::Auto,
            )?,
            keyed_shuffle: choice(
                options,
                "table.exec.sink.keyed-shuffle",
                &[
                    ("NONE", KeyedShuffle::None),
                    ("AUTO", KeyedShuffle::Auto),
                    ("FORCE", KeyedShuffle::Force),
                ],
                KeyedShuffle::Auto,
            )?,
            chaining: options
                .boolean("pipeline.operator-chaining.enabled")
                .map_err(wrong)?
                .unwrap_or(true),
            name: options.get("pipeline.name").map(str::to_owned),
        })
    }

    /// Whether DISTINCT aggregates are split by an incremental phase where that can be.
    pub fn splits_by_increments(&self) -> bool {
        self.split_distinct.is_some() && self.incremental && self.agg_phase != AggPhase::One
    }

    /// Key groups of an operator of this parallelism.
    pub fn max_parallelism_of(&self, parallelism: usize) -> usize {
        self.max_parallelism
            .unwrap_or_else(|| default_max_parallelism(self.parallelism.max(parallelism)))
    }
}

/// That jobs are to run as streams, and checkpoints to be of a kind that there is.
fn check_mode(options: &Options) -> SqlResult<()> {
    const MODE: &str = "execution.runtime-mode";
    let mode = options
        .one_of(MODE, &["STREAMING", "BATCH", "AUTOMATIC"])
        .map_err(wrong)?;
    if let Some(1 | 2) = mode {
        let value = options.get(MODE).unwrap_or_default();
        return Err(SqlError::new(
            Step::Unsupported,
            format!("'{MODE}' = '{value}': jobs run as streams only, also those that read files to their end"),
        )
        .remedy(format!(
            "leave it out, or set '{MODE}' = 'streaming': a job with bounded input ends by itself; where its results are updated \
             on the way, a sink with a PRIMARY KEY keeps the last ones"
        )));
    }
    let modes = ["EXACTLY_ONCE", "AT_LEAST_ONCE"];
    options
        .one_of("execution.checkpointing.mode", &modes)
        .map(|_| ())
        .map_err(wrong)
}

fn split_distinct(options: &Options) -> SqlResult<Option<u32>> {
    let enabled = options.boolean("table.optimizer.distinct-agg.split.enabled");
    let buckets = options.positive("table.optimizer.distinct-agg.split.bucket-num");
    let buckets = buckets
        .map_err(wrong)?
        .map_or(1024, |n| u32::try_from(n).unwrap_or(u32::MAX));
    Ok((enabled.map_err(wrong)? == Some(true)).then_some(buckets))
}

fn mini_batch(options: &Options) -> SqlResult<Option<MiniBatch>> {
    if options.boolean("table.exec.mini-batch.enabled").map_err(wrong)? != Some(true) {
        return Ok(None);
    }
    let needs = |key: &str| {
        SqlError::new(
            Step::Option,
            format!("'table.exec.mini-batch.enabled' needs '{key}' to be set above 0"),
        )
        .remedy("for example SET 'table.exec.mini-batch.allow-latency' = '2 s' and SET 'table.exec.mini-batch.size' = '50000'")
    };
    let latency = "table.exec.mini-batch.allow-latency";
    let size = "table.exec.mini-batch.size";
    let latency_ms = duration(options, latency)?.ok_or_else(|| needs(latency))?;
    let rows = options.positive(size).map_err(wrong)?.ok_or_else(|| needs(size))?;
    Ok(Some(MiniBatch {
        latency_ms,
        size: rows as u64,
    }))
}

/// `table.local-time-zone`; `default` is the machine's.
fn time_zone(options: &Options) -> SqlResult<String> {
    let key = "table.local-time-zone";
    let name = match options.get(key) {
        None | Some("default") => return Ok(machine_time_zone()),
        Some(name) => name.trim(),
    };
    let known = name.parse::<chrono_tz::Tz>().is_ok() || is_offset(name);
    if known {
        return Ok(name.to_owned());
    }
    let names = chrono_tz::TZ_VARIANTS.iter().map(|z| z.name());
    let hint = flott_core::suggest::hint(name, names);
    Err(wrong(OptionError::new(
        key,
        name,
        format!("a time zone such as 'UTC', 'Europe/Berlin' or 'GMT+02:00'{hint}"),
    )))
}

fn is_offset(name: &str) -> bool {
    let body = name
        .strip_prefix("GMT")
        .or_else(|| name.strip_prefix("UTC"))
        .unwrap_or(name);
    let Some(body) = body.strip_prefix(['+', '-']) else {
        return false;
    };
    let (hours, minutes) = body.split_once(':').unwrap_or((body, "00"));
    let number = |text: &str, max: u8| text.len() <= 2 && text.parse::<u8>().is_ok_and(|n| n <= max);
    number(hours, 18) && number(minutes, 59)
}

/// The machine's zone: `TZ`, else what /etc/localtime points to, else UTC.
fn machine_time_zone() -> String {
    let known = |name: &str| name.parse::<chrono_tz::Tz>().is_ok();
    if let Ok(name) = std::env::var("TZ")
        && known(name.trim_start_matches(':'))
    {
        return name.trim_start_matches(':').to_owned();
    }
    std::fs::read_link("/etc/localtime")
        .ok()
        .and_then(|path| {
            let path = path.to_string_lossy().into_owned();
            path.split_once("zoneinfo/").map(|(_, name)| name.to_owned())
        })
        .filter(|name| known(name))
        .map_or_else(
            || "UTC".to_owned(),
            |name| if name == "Etc/UTC" { "UTC".to_owned() } else { name },
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> SqlResult<PlannerConfig> {
        PlannerConfig::of(&pairs.iter().copied().collect())
    }

    #[test]
    fn wrong_values_name_the_option_and_what_is_allowed() {
        for (key, value, expected) in [
            ("parallelism.default", "0", "at least 1"),
            (
                "table.optimizer.agg-phase-strategy",
                "THREE",
                "AUTO, ONE_PHASE, TWO_PHASE",
            ),
            ("table.local-time-zone", "Europe/Berln", "did you mean 'Europe/Berlin'?"),
            ("table.exec.mini-batch.enabled", "true", "allow-latency"),
            ("execution.checkpointing.mode", "exactly_onze", "EXACTLY_ONCE"),
            ("execution.runtime-mode", "batch", "streams only"),
            ("execution.runtime-mode", "steaming", "STREAMING"),
        ] {
            let e = config(&[(key, value)]).unwrap_err().to_string();
            assert!(e.contains(key) && e.contains(expected), "{e}");
        }
    }

    #[test]
    fn zones_are_names_or_offsets() {
        for zone in ["UTC", "Asia/Shanghai", "GMT-08:00", "+05:30"] {
            assert_eq!(config(&[("table.local-time-zone", zone)]).unwrap().time_zone, zone);
        }
        assert!(config(&[("table.local-time-zone", "GMT+25")]).is_err());
    }
}
