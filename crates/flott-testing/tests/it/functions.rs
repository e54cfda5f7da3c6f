//! What functions are told: the domain and the time of a timer, checkpoints, and watermarks by a generator of one's own.

use flott::prelude::*;
use flott_testing::{MiniCluster, OneInputHarness};
use std::sync::{Arc, Mutex};

/// Says what it is told of its timers.
#[derive(Clone)]
struct Timed;

impl KeyedProcessFunction<i64, i64> for Timed {
    type Out = String;

    fn process_element(&mut self, value: i64, ctx: &mut ProcessContext<'_, i64, String>) -> Result<(), BoxError> {
        ctx.collect(format!("record at {:?} in {:?}", ctx.timestamp(), ctx.time_domain()));
        ctx.register_event_time_timer(value + 10);
        ctx.register_processing_time_timer(value + 20);
        Ok(())
    }

    fn on_timer(&mut self, time_ms: i64, ctx: &mut ProcessContext<'_, i64, String>) -> Result<(), BoxError> {
        assert_eq!(ctx.timestamp(), Some(time_ms));
        ctx.collect(format!("timer at {time_ms} in {:?}", ctx.time_domain()));
        Ok(())
    }
}

#[test]
fn a_timer_says_by_which_time_it_was_set() {
    let harness = OneInputHarness::for_keyed_process_function(Timed, |n: &i64| *n);
    let mut harness = harness.open().unwrap();
    harness.process_element(5, 7).unwrap();
    assert_eq!(harness.take_values(), ["record at Some(7) in None"]);
    harness.process_watermark(15).unwrap();
    assert_eq!(harness.take_values(), ["timer at 15 in Some(EventTime)"]);
    harness.set_processing_time(25).unwrap();
    assert_eq!(harness.take_values(), ["timer at 25 in Some(ProcessingTime)"]);
}

/// Time comes to what a record says, and on its own a step further at each interval; some records fall silent or wake up.
#[derive(Default)]
struct Steps {
    reached: i64,
}

impl WatermarkGenerator<i64> for Steps {
    fn on_event(&mut self, event: &i64, timestamp: i64, output: &mut WatermarkOutput) {
        self.reached = self.reached.max(timestamp);
        match event % 10 {
            9 => output.mark_idle(),
            8 => output.mark_active(),
            7 => output.emit_watermark(timestamp),
            _ => {}
        }
    }

    fn on_periodic_emit(&mut self, output: &mut WatermarkOutput) {
        if self.reached > 0 {
            output.emit_watermark(self.reached - 5);
            self.reached += 1;
        }
    }
}

/// Says how far time has come at each record.
#[derive(Clone)]
struct Watermarks;

impl ProcessFunction<i64> for Watermarks {
    type Out = (i64, i64);

    fn process_element(&mut self, value: i64, ctx: &mut Context<'_, (i64, i64)>) -> Result<(), BoxError> {
        let watermark = ctx.current_watermark();
        ctx.collect((value, watermark));
        Ok(())
    }
}

#[test]
fn a_generator_moves_time_with_records_and_without() {
    let harness = OneInputHarness::of(|numbers: DataStream<i64>| {
        let strategy = WatermarkStrategy::for_generator(Steps::default).with_timestamp_assigner(|n, _| *n);
        numbers.assign_timestamps_and_watermarks(&strategy).process(Watermarks)
    });
    let harness = harness.with_option("pipeline.auto-watermark-interval", "200 ms");
    let mut harness = harness.open().unwrap();
    for n in [100, 107, 106] {
        harness.process_element(n, 0).unwrap();
    }
    let seen = harness.take_values();
    assert_eq!((seen[0].0, seen[1].0), (100, 107));
    assert_eq!(seen[2], (106, 107), "the watermark follows its record at once");
    harness.process_element(200, 0).unwrap();
    harness.set_processing_time(1_000).unwrap();
    harness.process_element(201, 0).unwrap();
    let seen = harness.take_values();
    assert_eq!(seen[0], (200, 107));
    assert!(seen[1].1 >= 195, "time has moved by the clock alone: {seen:?}");
}

/// Hands what it has counted to a list when it is asked to, and says what it is told.
#[derive(Clone)]
struct Hooked {
    told: Arc<Mutex<Vec<String>>>,
    kept: OperatorListState<i64>,
    count: i64,
}

impl Hooked {
    fn tell(&self, what: String) {
        self.told.lock().unwrap().push(what);
    }
}

impl MapFunction<i64> for Hooked {
    type Out = i64;

    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        self.kept = ctx.operator_list_state("count")?;
        self.tell(format!("restored: {}", ctx.is_restored()));
        Ok(())
    }

    fn map(&mut self, _: i64) -> Result<i64, BoxError> {
        self.count += 1 + self.kept.take().into_iter().sum::<i64>();
        Ok(self.count)
    }

    fn snapshot_state(&mut self, _: flott::CheckpointId) -> Result<(), BoxError> {
        self.kept.update(vec![self.count]);
        self.count = 0;
        self.tell("snapshot".to_owned());
        Ok(())
    }

    fn notify_checkpoint_complete(&mut self, _: flott::CheckpointId) {
        self.tell("complete".to_owned());
    }
}

#[test]
fn a_function_is_asked_before_its_state_is_captured() {
    let told = Arc::new(Mutex::new(vec![]));
    let build = || {
        let told = told.clone();
        OneInputHarness::of(move |numbers: DataStream<i64>| {
            let kept = OperatorListState::default();
            numbers
                .map_with(Hooked {
                    told: told.clone(),
                    kept,
                    count: 0,
                })
                .uid("hooked")
        })
    };
    let mut harness = build().open().unwrap();
    harness.process_element(1, 0).unwrap();
    harness.process_element(1, 0).unwrap();
    assert_eq!(harness.take_values(), [1, 2]);
    let snapshot = harness.snapshot().unwrap();
    harness.process_element(1, 0).unwrap();
    assert_eq!(harness.take_values(), [3], "it goes on from what it has handed over");
    let mut harness = build().restore(&snapshot).open().unwrap();
    harness.process_element(1, 0).unwrap();
    assert_eq!(harness.take_values(), [3]);
    let told = told.lock().unwrap();
    assert_eq!(*told, ["restored: false", "snapshot", "complete", "restored: true"]);
}

/// Says what became of checkpoints.
#[derive(Clone)]
struct Listening {
    told: Arc<Mutex<Vec<&'static str>>>,
}

impl SinkFunction<i64> for Listening {
    fn invoke(&mut self, _: i64, _: Option<i64>) -> Result<(), BoxError> {
        Ok(())
    }

    fn notify_checkpoint_complete(&mut self, _: flott::CheckpointId) {
        self.told.lock().unwrap().push("complete");
    }

    fn notify_checkpoint_aborted(&mut self, _: flott::CheckpointId) {
        self.told.lock().unwrap().push("aborted");
    }
}

#[test]
fn a_checkpoint_that_is_given_up_is_told() {
    let options = [
        ("execution.checkpointing.timeout", "500 ms"),
        ("execution.checkpointing.interval", "20 ms"),
        ("execution.checkpointing.tolerable-failed-checkpoints", "1000000"),
    ];
    let cluster = MiniCluster::with_options(1, options.into_iter().collect()).unwrap();
    let env = cluster.environment();
    let told = Arc::new(Mutex::new(vec![]));
    let gate = Arc::new(Mutex::new(()));
    let (held, sink) = (gate.lock().unwrap(), Listening { told: told.clone() });
    let passes = gate.clone();
    // Held, the chain does not come to the barrier, and the checkpoint takes too long.
    env.from_sequence(1, i64::MAX)
        .map(move |n| {
            drop(passes.lock().unwrap());
            n
        })
        .sink_with(sink);
    let mut job = cluster.start(&env, "aborted").unwrap();
    job.wait_until("a checkpoint that takes too long", |job| job.failed_checkpoints() > 0)
        .unwrap();
    drop(held);
    job.wait_until("both", |_| {
        let told = told.lock().unwrap();
        told.contains(&"aborted") && told.contains(&"complete")
    })
    .unwrap();
    job.cancel().unwrap();
}
