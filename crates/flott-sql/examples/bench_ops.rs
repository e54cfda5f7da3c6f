//! What the SQL operators cost per row, measured without sources, sinks and exchanges.
//!
//! `cargo run --release -p flott-sql --example bench_ops` prints CPU nanoseconds per input row, firing included: the best
//! of five passes over two million rows in batches of 8,192, event time rising by 10,000 rows a second. On Linux the
//! thread's own time on a CPU is taken, so that a busy machine disturbs little; elsewhere wall time.

use arrow_array::{ArrayRef, Int64Array, StringArray, TimestampMillisecondArray};
use flott_core::clock::{SharedClock, SystemClock};
use flott_core::{Batch, Field, JobId, LogicalType, OperatorId, Options, TypeKind};
use flott_plan::{Chaining, Node, Role};
use flott_runtime::context::TaskInfo;
use flott_runtime::registry::FactoryContext;
use flott_runtime::{Element, Flow, Operator, OperatorContext, Output, Registry, Waker};
use flott_sql::expr::Expr;
use flott_sql::nodes::*;
use flott_sql::operators::register;
use std::error::Error;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

const ROWS: usize = 2_000_000;
const BATCH: usize = 8192;
const PASSES: usize = 5;

type Failure = Box<dyn Error>;

/// Time of this thread on a CPU, or wall time where the system does not tell.
fn cpu_time() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let ns = told.and_then(|t| t.split(' ').next().and_then(|ns| ns.parse().ok()));
    ns.map_or_else(|| START.elapsed(), Duration::from_nanos)
}

fn main() -> Result<(), Failure> {
    let mut registry = Registry::new();
    register(&mut registry);
    let bids = bids();
    let tumble = WindowSpec::Tumble {
        size_ms: 10_000,
        offset_ms: 0,
    };
    let hop = WindowSpec::Hop {
        size_ms: 10_000,
        slide_ms: 2_000,
        offset_ms: 0,
    };
    let (sum, count, max) = (call("SUM", &[2]), call("COUNT", &[]), call("MAX", &[2]));
    let one = kind::WINDOW_AGGREGATE;
    let local = kind::LOCAL_WINDOW_AGGREGATE;
    let cases = [
        ("tumble sum, BIGINT key", one, json(&window(tumble, &[0], &[&sum]))?),
        ("tumble sum, STRING key", one, json(&window(tumble, &[1], &[&sum]))?),
        (
            "tumble sum count max, BIGINT key",
            one,
            json(&window(tumble, &[0], &[&sum, &count, &max]))?,
        ),
        ("tumble max, no key (q7w)", one, json(&window(tumble, &[], &[&max]))?),
        (
            "hop 10 s / 2 s count, BIGINT key (q5w)",
            one,
            json(&window(hop, &[0], &[&count]))?,
        ),
        (
            "local hop count, BIGINT key",
            local,
            json(&window(hop, &[0], &[&count]))?,
        ),
        (
            "group count, STRING key, mini-batch",
            kind::GROUP_AGGREGATE,
            json(&group(&[1], &[&count], true))?,
        ),
        (
            "local group count, STRING key",
            kind::LOCAL_GROUP_AGGREGATE,
            json(&group(&[1], &[&count], true))?,
        ),
        (
            "group count, BIGINT key, row by row",
            kind::GROUP_AGGREGATE,
            json(&group(&[0], &[&count], false))?,
        ),
        (
            "q17 aggregates, BIGINT key, mini-batch",
            kind::GROUP_AGGREGATE,
            json(&group(&[0], &q17(), true))?,
        ),
        ("calc: filter half, two columns", kind::CALC, json(&calc())?),
    ];
    for (name, kind, spec) in cases {
        let mut best = Duration::MAX;
        let mut emitted = 0;
        for _ in 0..PASSES {
            let mut operator = operator(&registry, kind, spec.clone())?;
            let started = cpu_time();
            emitted = run(operator.as_mut(), &bids)?;
            best = best.min(cpu_time() - started);
        }
        let ns = best.as_nanos() as f64 / ROWS as f64;
        println!("{name:<42} {ns:>7.1} ns/row  {emitted:>9} rows out");
    }
    Ok(())
}

/// auction BIGINT, channel STRING, price BIGINT, ts TIMESTAMP(3): keys in a moving hot range, as in Nexmark.
fn bids() -> Vec<Batch> {
    let mut state = 7u64;
    let mut random = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let words: Vec<String> = (0..5_000).map(|i| format!("channel-{i}")).collect();
    let batch = |start: usize| {
        let rows = BATCH.min(ROWS - start);
        let (mut auctions, mut channels, mut prices, mut times) = (vec![], vec![], vec![], vec![]);
        for row in start..start + rows {
            auctions.push((row as u64 / 16 + random(3_000)) as i64);
            channels.push(words[random(5_000) as usize].as_str());
            prices.push(random(10_000_000) as i64);
            times.push(row as i64 / 10);
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(auctions)),
            Arc::new(StringArray::from(channels)),
            Arc::new(Int64Array::from(prices)),
            Arc::new(TimestampMillisecondArray::from(times)),
        ];
        Batch::new(columns, rows)
    };
    (0..ROWS).step_by(BATCH).map(batch).collect()
}

fn input() -> Vec<Field> {
    vec![
        Field::new("auction", LogicalType::bigint()),
        Field::new("channel", LogicalType::string()),
        Field::new("price", LogicalType::bigint()),
        Field::new("ts", LogicalType::new(TypeKind::Timestamp(3))),
    ]
}

fn call(function: &str, args: &[usize]) -> AggregateCall {
    AggregateCall {
        function: function.into(),
        args: args.to_vec(),
        distinct: false,
        filter: None,
        ty: LogicalType::bigint(),
        name: function.to_lowercase(),
        detail: Default::default(),
    }
}

fn q17() -> [&'static AggregateCall; 5] {
    ["COUNT", "MIN", "MAX", "AVG", "SUM"].map(|f| {
        let args: &[usize] = if f == "COUNT" { &[] } else { &[2] };
        &*Box::leak(Box::new(call(f, args)))
    })
}

fn window(window: WindowSpec, keys: &[usize], calls: &[&AggregateCall]) -> WindowAggregateSpec {
    WindowAggregateSpec {
        input: input(),
        keys: keys.to_vec(),
        aggregates: calls.iter().map(|c| (*c).clone()).collect(),
        window,
        time: TimeAttribute::EventTime { column: 3 },
        properties: vec![WindowProperty {
            kind: WindowPropertyKind::Start,
            name: "window_start".into(),
        }],
        time_zone: "UTC".into(),
        input_retracts: false,
        legacy: false,
        emit: None,
    }
}

fn group(keys: &[usize], calls: &[&AggregateCall], is_folded: bool) -> GroupAggregateSpec {
    GroupAggregateSpec {
        input: input(),
        keys: keys.to_vec(),
        aggregates: calls.iter().map(|c| (*c).clone()).collect(),
        input_retracts: false,
        generate_update_before: false,
        mini_batch: is_folded.then_some(MiniBatch {
            latency_ms: 2_000,
            size: 50_000,
        }),
        ttl_ms: 0,
        is_incremental: false,
    }
}

fn calc() -> CalcSpec {
    let bigint = LogicalType::bigint();
    let price = || Expr::input(2, bigint.clone());
    let condition = Expr::call(">", vec![price(), Expr::bigint(5_000_000)], LogicalType::boolean());
    CalcSpec {
        projection: vec![Expr::input(0, bigint.clone()), price()],
        condition: Some(condition),
        time_zone: "UTC".into(),
    }
}

fn json(spec: &impl serde::Serialize) -> Result<serde_json::Value, serde_json::Error> {
    serde_json::to_value(spec)
}

fn operator(registry: &Registry, kind: &str, spec: serde_json::Value) -> Result<Box<dyn Operator>, Failure> {
    let clock: SharedClock = Arc::new(SystemClock);
    let node = Node {
        id: 0,
        operator_id: OperatorId::of("bench"),
        uid: None,
        kind: kind.into(),
        version: VERSION,
        name: kind.into(),
        description: String::new(),
        role: Role::Operator,
        parallelism: 1,
        fixed_parallelism: false,
        max_parallelism: 128,
        chaining: Chaining::Always,
        slot_sharing_group: None,
        output: vec![],
        spec,
    };
    let context = FactoryContext {
        options: Arc::new(Options::new()),
        inputs: vec![input()],
        clock: clock.clone(),
    };
    let mut operator = registry.make_operator(&node, &context)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let task = TaskInfo {
        job_id: JobId::of("bench"),
        job_name: "bench".into(),
        task_name: "bench".into(),
        subtask: 0,
        parallelism: 1,
        max_parallelism: 128,
        attempt: 0,
        generation: 1,
        options: Arc::new(Options::new()),
    };
    operator.open(&mut OperatorContext {
        task: Arc::new(task),
        operator_id: node.operator_id,
        operator_name: node.name,
        waker: Waker::new(),
        clock,
        runtime: runtime.handle().clone(),
        metrics: Arc::default(),
        restored: None,
        backend: Default::default(),
    })?;
    Ok(operator)
}

fn run(operator: &mut dyn Operator, batches: &[Batch]) -> Result<usize, Failure> {
    let mut out = Output::new();
    let mut emitted = 0;
    let mut drain = |operator: &mut dyn Operator, mut flow: Flow, out: &mut Output| -> Result<(), Failure> {
        loop {
            for element in out.drain() {
                if let Element::Data(batch) = element {
                    emitted += batch.num_rows();
                }
            }
            if flow == Flow::Done {
                return Ok(());
            }
            flow = operator.resume(out)?;
        }
    };
    for (index, batch) in batches.iter().enumerate() {
        let flow = operator.process(0, batch.clone(), &mut out)?;
        drain(operator, flow, &mut out)?;
        let watermark = ((index + 1) * BATCH) as i64 / 10 - 1;
        let flow = operator.on_watermark(watermark, &mut out)?;
        drain(operator, flow, &mut out)?;
    }
    let flow = operator.finish(&mut out)?;
    drain(operator, flow, &mut out)?;
    Ok(emitted)
}
