//! What will hurt: warnings about a job that is valid, for `flott check` and before a run.

use crate::binder::BoundInsert;
use crate::nodes::{OverFrame, kind};
use crate::operators::keeps_in_memory;
use crate::physical::{PlannedJob, SCAN_KIND, SINK_KIND};
use crate::rel::{Rel, RelOp, Scan, TimeKind};
use crate::script::nearest_hint;
use flott_core::Options;
use flott_core::options::parse_duration_ms;
use std::fmt;

/// A warning with what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What will hurt, with the names concerned.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nremedy: {}", self.message, self.remedy)
    }
}

fn warning(message: impl Into<String>, remedy: impl Into<String>) -> Warning {
    Warning {
        message: message.into(),
        remedy: remedy.into(),
    }
}

/// Option names that are known, beyond the prefixes of [`KNOWN_PREFIXES`].
const KNOWN: &[&str] = &[
    "parallelism.default",
    "pipeline.name",
    "pipeline.max-parallelism",
    "pipeline.object-reuse",
    "pipeline.operator-chaining.enabled",
    "pipeline.auto-watermark-interval",
    "pipeline.jars",
    "execution.runtime-mode",
    "liveness.task-timeout",
    "execution.buffer-timeout.interval",
    "execution.batch-rows",
    "execution.exchange.encoded",
    "execution.checkpointing.interval",
    "execution.checkpointing.mode",
    "execution.checkpointing.timeout",
    "execution.checkpointing.min-pause",
    "execution.checkpointing.max-concurrent-checkpoints",
    "execution.checkpointing.tolerable-failed-checkpoints",
    "execution.checkpointing.dir",
    "execution.checkpointing.savepoint-dir",
    "execution.checkpointing.num-retained",
    "execution.checkpointing.incremental",
    "execution.checkpointing.externalized-checkpoint-retention",
    "execution.checkpointing.unaligned.enabled",
    "execution.checkpointing.unaligned",
    "execution.checkpointing.aligned-checkpoint-timeout",
    "execution.checkpointing.alignment-timeout",
    "execution.state-recovery.path",
    "execution.state-recovery.claim-mode",
    "execution.savepoint-restore-mode",
    "execution.state-recovery.ignore-unclaimed-state",
    "restart-strategy.type",
    "restart-strategy.fixed-delay.attempts",
    "restart-strategy.fixed-delay.delay",
    "restart-strategy.exponential-delay.initial-backoff",
    "restart-strategy.exponential-delay.max-backoff",
    "restart-strategy.exponential-delay.backoff-multiplier",
    "restart-strategy.exponential-delay.jitter-factor",
    "restart-strategy.exponential-delay.reset-backoff-threshold",
    "restart-strategy.failure-rate.delay",
    "restart-strategy.failure-rate.failure-rate-interval",
    "restart-strategy.failure-rate.max-failures-per-interval",
    "execution.attached",
    "execution.target",
    "restart-strategy",
    "state.backend",
    "state.backend.type",
    "state.checkpoints.dir",
    "state.savepoints.dir",
    "state.backend.hot-rows",
    "state.backend.local-recovery",
    "execution.state-recovery.from-local",
    "execution.checkpointing.local-backup.enabled",
    "execution.checkpointing.local-backup.dirs",
    "taskmanager.state.local.root-dirs",
    "state.backend.rocksdb.localdir",
    "state.backend.rocksdb.memory.managed",
    "state.backend.rocksdb.memory.fixed-per-slot",
    "state.backend.rocksdb.memory.fixed-per-tm",
    "taskmanager.numberOfTaskSlots",
    "metrics.reporter.prom.port",
    "table.local-time-zone",
    "table.exec.state.ttl",
    "table.exec.emit.early-fire.enabled",
    "table.exec.emit.early-fire.delay",
    "table.exec.emit.late-fire.enabled",
    "table.exec.emit.late-fire.delay",
    "table.exec.emit.allow-lateness",
    "table.exec.mini-batch.enabled",
    "table.exec.mini-batch.allow-latency",
    "table.exec.mini-batch.size",
    "table.exec.source.idle-timeout",
    "table.exec.source.cdc-events-duplicate",
    "table.exec.sink.not-null-enforcer",
    "table.exec.sink.type-length-enforcer",
    "table.exec.sink.nested-constraint-enforcer",
    "table.exec.sink.keyed-shuffle",
    "table.exec.sink.upsert-materialize",
    "table.exec.resource.default-parallelism",
    "table.optimizer.agg-phase-strategy",
    "table.optimizer.distinct-agg.split.enabled",
    "table.optimizer.distinct-agg.split.bucket-num",
    "table.optimizer.incremental-agg-enabled",
    "table.optimizer.reuse-sub-plan-enabled",
    "table.optimizer.reuse-source-enabled",
    "table.dml-sync",
    "table.catalog-store.kind",
    "table.catalog-store.file.path",
    "table.display.max-column-width",
    "sql-client.display.max-column-width",
    "sql-client.execution.max-table-result.rows",
    "sql-client.execution.result-mode",
];

/// Families of options that are taken as they are.
const KNOWN_PREFIXES: &[&str] = &[
    "metrics.",
    "traces.",
    "s3.",
    "fs.",
    "env.",
    "jobmanager.",
    "taskmanager.",
    "rest.",
    "web.",
    "high-availability.",
    "security.",
    "state.",
    "heartbeat.",
    "cluster.",
    "kubernetes.",
    "sql-client.",
    "table.exec.async-",
    "table.exec.legacy-",
    "table.plan.",
    "table.sql-dialect",
    "yarn.",
    "akka.",
    "blob.",
    "classloader.",
    "client.",
    "historyserver.",
    "python.",
    "queryable-state.",
    "sql-gateway.",
    "task.",
    "zookeeper.",
    "flott.",
    "pipeline.",
    "execution.checkpointing.",
    "slot.",
    "io.",
    "process.",
];

/// What Flink's options of RocksDB begin with, of which [`KNOWN`] has those that are read.
const ROCKSDB: &str = "state.backend.rocksdb.";

/// A warning for an option that nobody reads. Who sets one that Flink has counts on what it does, so it is said what holds instead.
pub fn unknown_option(key: &str) -> Option<String> {
    if KNOWN.contains(&key) {
        return None;
    }
    let without_effect = |instead: &str| Some(format!("the option '{key}' has no effect: {instead}"));
    let hint = nearest_hint(key, KNOWN);
    if !hint.is_empty() {
        return Some(format!("the option '{key}' is not known{hint}"));
    }
    if key.starts_with(ROCKSDB) {
        return without_effect(
            "of RocksDB its folder ('state.backend.rocksdb.localdir') and its memory ('state.backend.rocksdb.memory.fixed-per-slot' or \
             'fixed-per-tm') can be set, and nothing else",
        );
    }
    match KNOWN_PREFIXES.iter().any(|begin| key.starts_with(begin)) {
        true => None,
        false => Some(format!("the option '{key}' is not known")),
    }
}

/// Warnings for the options that nobody reads, of those that a session begins with.
pub fn unknown_options(options: &Options) -> Vec<String> {
    options.iter().filter_map(|(key, _)| unknown_option(key)).collect()
}

/// What will hurt of a planned job.
pub fn check_job(job: &PlannedJob, options: &Options) -> Vec<Warning> {
    let mut warnings = vec![];
    for (insert, rel) in job.bound.iter().zip(&job.optimized) {
        state(rel, options, &mut warnings);
        watermarks(rel, options, &mut warnings);
        sink(insert, rel, options, &mut warnings);
        warnings.extend(insert.warnings.iter().map(|w| {
            warning(
                format!("table '{}': {w}", insert.table.short_name()),
                "see the connector's options",
            )
        }));
    }
    memory_only(job, options, &mut warnings);
    in_memory(job, options, &mut warnings);
    parallelism(job, &mut warnings);
    materialized(job, options, &mut warnings);
    let mut unique: Vec<Warning> = vec![];
    for w in warnings {
        if !unique.contains(&w) {
            unique.push(w);
        }
    }
    unique
}

fn scans<'a>(rel: &'a Rel, found: &mut Vec<&'a Scan>) {
    if let RelOp::Scan(scan) = &rel.op {
        found.push(scan);
    }
    for input in rel.inputs() {
        scans(input, found);
    }
}

fn is_bounded(rel: &Rel) -> bool {
    let mut found = vec![];
    scans(rel, &mut found);
    found.iter().all(|s| s.traits.bounded)
}

fn has_ttl(options: &Options) -> bool {
    let ttl = options.get("table.exec.state.ttl").and_then(parse_duration_ms);
    ttl.is_some_and(|ms| ms > 0)
}

/// Aggregations whose state only grows.
fn state(rel: &Rel, options: &Options, warnings: &mut Vec<Warning>) {
    if has_ttl(options) || is_bounded(rel) {
        return;
    }
    if let RelOp::Aggregate { input, keys, calls } = &rel.op
        && !keys.is_empty()
    {
        let names = keys.iter().map(|&k| input.fields[k].name.as_str());
        let names: Vec<&str> = names.filter(|name| !name.starts_with('$')).collect();
        let what = if calls.is_empty() { "DISTINCT" } else { "GROUP BY" };
        let only_one_bound = keys.iter().any(|&k| input.fields[k].window.is_some());
        let message = format!(
            "{what} ({}) keeps state for every key for ever: it grows as long as new keys come",
            names.join(", ")
        );
        let remedy = match only_one_bound {
            true => "group by both window_start and window_end, then each window's state goes when it closes",
            false => "SET 'table.exec.state.ttl' = '1 d' (or what fits), or aggregate in windows",
        };
        warnings.push(warning(message, remedy));
    }
    if let RelOp::Over(over) = &rel.op
        && !over.partition.is_empty()
        && !matches!(over.frame, OverFrame::Range { .. })
    {
        let names: Vec<&str> = over
            .partition
            .iter()
            .map(|&k| over.input.fields[k].name.as_str())
            .collect();
        warnings.push(warning(
            format!(
                "OVER (PARTITION BY {}) keeps state for every partition for ever: it grows as long as new ones come",
                names.join(", ")
            ),
            "look over RANGE BETWEEN INTERVAL … PRECEDING AND CURRENT ROW, whose state goes with its rows; \
             SET 'table.exec.state.ttl' helps windows that are UNBOUNDED",
        ));
    }
    if let RelOp::Aggregate { calls, .. } = &rel.op {
        for call in calls.iter().filter(|c| c.distinct) {
            warnings.push(warning(
                format!(
                    "'{}' ({} DISTINCT) keeps every value that it has seen",
                    call.name, call.function
                ),
                "SET 'table.exec.state.ttl', or aggregate in windows",
            ));
        }
    }
    for input in rel.inputs() {
        state(input, options, warnings);
    }
}

/// Windows that an idle partition can hold up.
fn watermarks(rel: &Rel, options: &Options, warnings: &mut Vec<Warning>) {
    if !has_event_windows(rel) {
        return;
    }
    let global = options
        .get("table.exec.source.idle-timeout")
        .and_then(parse_duration_ms)
        .is_some_and(|ms| ms > 0);
    let mut found = vec![];
    scans(rel, &mut found);
    for scan in found {
        let own = scan
            .options
            .get("scan.watermark.idle-timeout")
            .and_then(parse_duration_ms)
            .is_some_and(|ms| ms > 0);
        if scan.watermark.is_some() && scan.traits.splits_may_idle && !scan.traits.bounded && !global && !own {
            warnings.push(warning(
                format!(
                    "a partition of '{}' without new records holds the watermark back, and no window closes then",
                    scan.table.spec.short_name()
                ),
                "add 'scan.watermark.idle-timeout' = '30 s' to the table, or SET 'table.exec.source.idle-timeout'",
            ));
        }
    }
}

fn has_event_windows(rel: &Rel) -> bool {
    let is_over_time = matches!(&rel.op, RelOp::Over(o) if o.input.fields[o.order].time == Some(TimeKind::Rowtime));
    is_over_time
        || matches!(&rel.op, RelOp::Sort(s) if s.fetch.is_none() && s.order.first().is_some_and(|k| s.input.fields[k.column].time == Some(TimeKind::Rowtime)))
        || matches!(&rel.op, RelOp::WindowAggregate(_) | RelOp::WindowTvf { .. })
        || rel.inputs().into_iter().any(has_event_windows)
}

/// Delivery guarantees against the checkpoint settings.
fn sink(insert: &BoundInsert, rel: &Rel, options: &Options, warnings: &mut Vec<Warning>) {
    let table = insert.table.short_name();
    let duration = |key: &str| options.get(key).and_then(parse_duration_ms);
    let interval = duration("execution.checkpointing.interval").filter(|ms| *ms > 0);
    let guarantee = insert.table.options.get("sink.delivery-guarantee");
    let is_kafka = matches!(insert.table.connector(), "kafka" | "upsert-kafka");
    match guarantee {
        Some("exactly-once") => {
            if interval.is_none() && !is_bounded(rel) {
                warnings.push(warning(
                    format!("'{table}' writes exactly once, but checkpoints are off: nothing is ever committed"),
                    "SET 'execution.checkpointing.interval' = '10 s' and 'execution.checkpointing.dir'",
                ));
            }
            if let Some(interval) = interval {
                transaction_timeout(insert, interval, options, warnings);
            }
        }
        None if is_kafka && interval.is_some() => warnings.push(warning(
            format!("'{table}' writes at least once: after a failure, records since the last checkpoint come twice"),
            "'sink.delivery-guarantee' = 'exactly-once' in the table, or leave it where doubles do no harm",
        )),
        _ => {}
    }
    if insert.table.connector() == "filesystem" && interval.is_none() && !is_bounded(rel) {
        warnings.push(warning(
            format!("'{table}' publishes files when a checkpoint completes, but checkpoints are off"),
            "SET 'execution.checkpointing.interval' = '10 s'",
        ));
    }
}

/// A transaction must outlive the longest way from its begin to its commit.
fn transaction_timeout(insert: &BoundInsert, interval_ms: i64, options: &Options, warnings: &mut Vec<Warning>) {
    const DEFAULT_TRANSACTION_MS: i64 = 3_600_000;
    const DEFAULT_CHECKPOINT_MS: i64 = 600_000;
    let duration = |key: &str| options.get(key).and_then(parse_duration_ms);
    let timeout_ms = insert
        .table
        .options
        .get("properties.transaction.timeout.ms")
        .and_then(|v| v.trim().parse().ok())
        .unwrap_or(DEFAULT_TRANSACTION_MS);
    let checkpoint_ms = duration("execution.checkpointing.timeout").unwrap_or(DEFAULT_CHECKPOINT_MS);
    let restart_ms = duration("restart-strategy.fixed-delay.delay")
        .or_else(|| duration("restart-strategy.exponential-delay.max-backoff"))
        .unwrap_or(60_000);
    let needed_ms = interval_ms + checkpoint_ms + restart_ms;
    if timeout_ms <= needed_ms {
        warnings.push(warning(
            format!(
                "transactions of '{}' expire after {timeout_ms} ms, but a commit may come {needed_ms} ms after their begin \
                 (checkpoint interval {interval_ms} + checkpoint timeout {checkpoint_ms} + restart {restart_ms}): the broker \
                 would abort them, and their records would be lost",
                insert.table.short_name()
            ),
            format!("'properties.transaction.timeout.ms' = '{}' or more, up to the broker's maximum", needed_ms * 2),
        ));
    }
}

/// Rows that are remembered by key, behind sources and before sinks.
fn materialized(job: &PlannedJob, options: &Options, warnings: &mut Vec<Warning>) {
    if has_ttl(options) || job.optimized.iter().all(is_bounded) {
        return;
    }
    for node in &job.plan.nodes {
        if node.kind == kind::CHANGELOG_NORMALIZE {
            warnings.push(warning(
                format!(
                    "'{}' keeps the last row of every key that is not deleted, for ever",
                    node.name
                ),
                "SET 'table.exec.state.ttl' = '1 d' (or what fits), if keys without news may be forgotten",
            ));
        }
        if node.kind != kind::SINK_MATERIALIZER {
            continue;
        }
        warnings.push(warning(
            format!(
                "the query's updates do not come by the PRIMARY KEY of the sink: '{}' keeps every row that is not taken back, for ever",
                node.name
            ),
            "key the sink as the query is keyed, or SET 'table.exec.state.ttl' = '1 d' (or what fits)",
        ));
    }
}

/// Checkpoints that nobody can start from.
fn memory_only(job: &PlannedJob, options: &Options, warnings: &mut Vec<Warning>) {
    let interval_ms = options
        .get("execution.checkpointing.interval")
        .and_then(parse_duration_ms);
    let has_dir = ["execution.checkpointing.dir", "state.checkpoints.dir"]
        .iter()
        .any(|key| options.get(key).is_some());
    if interval_ms.is_some_and(|ms| ms > 0) && !has_dir && !job.optimized.iter().all(is_bounded) {
        warnings.push(warning(
            "checkpoints are on, but there is no place for them: they are kept in memory, and none outlives this process",
            "SET 'execution.checkpointing.dir' = '/folder' (or s3://bucket/folder), then --restore latest goes on from them",
        ));
    }
}

/// State that the backend cannot leave on disk.
fn in_memory(job: &PlannedJob, options: &Options, warnings: &mut Vec<Warning>) {
    let backend = options
        .get("state.backend.type")
        .or_else(|| options.get("state.backend"));
    if !backend.is_some_and(|name| name.eq_ignore_ascii_case("rocksdb")) {
        return;
    }
    for node in &job.plan.nodes {
        // What cannot be read is told where it is made.
        let in_memory = |holds| keeps_in_memory(node).is_ok_and(|stays| stays).then_some(holds);
        let holds = match node.kind.as_str() {
            kind::WINDOW_AGGREGATE | kind::GROUP_WINDOW_AGGREGATE | kind::WINDOW_TABLE_FUNCTION => {
                in_memory("the sessions that are open")
            }
            kind::OVER_AGGREGATE => in_memory("the rows that its frames need"),
            kind::SORT_LIMIT | kind::TEMPORAL_SORT => Some("the rows that it sorts"),
            _ => None,
        };
        let Some(holds) = holds else { continue };
        warnings.push(warning(
            format!("'{}' keeps {holds} in memory: 'state.backend.type' = 'rocksdb' does not bound it", node.name),
            "give the process the memory for it, or make it smaller: a shorter window, 'table.exec.state.ttl', a higher parallelism",
        ));
    }
}

/// Several writers without a key mix up the order of updates.
fn parallelism(job: &PlannedJob, warnings: &mut Vec<Warning>) {
    let plan = &job.plan;
    for sink in plan.nodes.iter().filter(|n| n.kind == SINK_KIND) {
        let updating = !job.changelogs[sink.id].kinds.is_append();
        let shuffled = plan
            .inputs(sink.id)
            .any(|e| e.partitioning == flott_plan::Partitioning::Rebalance);
        if updating && shuffled {
            warnings.push(warning(
                format!(
                    "'{}' gets the updates of one key in several writers, in any order",
                    sink.name
                ),
                "give the sink a PRIMARY KEY, or the parallelism of the query",
            ));
        }
    }
    debug_assert!(plan.nodes.iter().any(|n| n.kind == SINK_KIND || n.kind == SCAN_KIND));
}
