//! What is said of programs that are wrong, and of functions that fail.

#![allow(clippy::panic, reason = "user code that panics is what is tested")]

use super::env;
use flott::prelude::*;
use std::time::Duration;

fn refused(describe: impl Fn(&StreamExecutionEnvironment)) -> String {
    let env = env();
    env.set_parallelism(2);
    describe(&env);
    env.execute("wrong").unwrap_err().to_string()
}

#[test]
fn programs_that_are_no_jobs_are_refused_before_they_start() {
    let cases = [
        (refused(|_| {}), "no operators defined: a job needs at least one sink"),
        (
            refused(|env| drop(env.from_sequence(0, 9).map(|n| n))),
            "the plan is not valid: nothing reads 'Map[2]': a job needs a sink behind every operator",
        ),
        (
            refused(|env| {
                env.from_sequence(0, 9).uid("a").map(|n| n).uid("a").print();
            }),
            "the uid 'a' is given to 'Source: Sequence Source' and to 'Map': state is found by it, so give one of them another",
        ),
        (
            refused(|env| {
                env.from_sequence(0, 9).forward().map(|n| n).set_parallelism(3).print();
            }),
            "forward() cannot lead from 'Source: Sequence Source' (parallelism 2) to 'Map' (parallelism 3): use rebalance() or \
             rescale(), or set the same parallelism",
        ),
        (
            refused(|env| {
                env.from_collection([1]).set_parallelism(4).print();
            }),
            "'Source: Collection Source' runs with a parallelism of 1, and 4 was set: remove set_parallelism",
        ),
        (
            refused(|env| {
                let numbers = env.from_sequence(0, 9);
                numbers.union(&[&numbers]).name("both").print();
            }),
            "name() speaks of an operator, and a union is none: call it on a stream before union()",
        ),
        (
            refused(|env| {
                env.from_sequence(0, 9).rebalance().name("spread").print();
            }),
            "name() speaks of an operator, and an exchange is none: call it before key_by, rebalance and the like, or behind the next \
             operator",
        ),
        (
            refused(|env| {
                env.from_sequence(0, 9).partition_custom(|_, _| 0, 3).map(|n| n).print();
            }),
            "partition_custom() spreads records over 3 subtasks, and 'Map', which reads them, has 2: say set_parallelism(3) of it, or \
             give the partitioner 2",
        ),
        (
            refused(|env| {
                env.from_sequence(0, 9).map(|n| n).set_parallelism(0).print();
            }),
            "the plan is not valid: 'Map[2]' has parallelism 0, allowed is 1 to its max parallelism 128",
        ),
        (
            refused(|env| {
                env.from_sequence(0, 9).map(|n| n).slot_sharing_group("").print();
            }),
            "the slot sharing group of 'Map' has no name: give it one, or 'default'",
        ),
        (
            refused(|env| {
                let strategy = WatermarkStrategy::for_monotonous_timestamps();
                let aligned = strategy.with_watermark_alignment("group", Duration::from_secs(1));
                env.from_sequence(0, 9)
                    .assign_timestamps_and_watermarks(&aligned)
                    .print();
            }),
            "watermarks are aligned where records are read: give the strategy with its alignment to from_source(), not to \
             assign_timestamps_and_watermarks()",
        ),
        (
            refused(|env| {
                let strategy = WatermarkStrategy::no_watermarks();
                let aligned = strategy.with_watermark_alignment("group", Duration::from_secs(1));
                env.from_source(DataGeneratorSource::new(|n| n, 9), aligned, "numbers")
                    .print();
            }),
            "there are no watermarks to be aligned: remove with_watermark_alignment(), or use another strategy than no_watermarks()",
        ),
    ];
    for (said, expected) in cases {
        assert_eq!(said, expected);
    }
}

/// What user code did is said with the place and the record.
#[test]
fn functions_that_fail_are_told_with_their_record() {
    let fails = |describe: fn(DataStream<i64>)| {
        let env = StreamExecutionEnvironment::get_execution_environment();
        env.configure("restart-strategy.type", "none");
        describe(env.from_sequence(0, 99));
        env.execute("fails").unwrap_err().to_string()
    };
    let error = fails(|s| {
        s.try_map(|n| if n < 42 { Ok(n) } else { Err("too large") })
            .name("Check")
            .print();
    });
    assert!(
        error.contains("Check[2]: the function failed at record 43, 42, of type i64: too large"),
        "{error}"
    );
    let error = fails(|s| {
        s.map(|n| 100 / (n - 7)).print();
    });
    let expected = "Map[2]: the function panicked at record 8, 7, of type i64: attempt to divide by zero";
    assert!(error.contains(expected), "{error}");
    let error = fails(|s| {
        s.key_by(|n| *n).reduce(|a, _| a).map(|n| n).print();
        let checked = s.key_by(|n| n % 3).process(FailsAt(5));
        checked.print();
    });
    assert!(
        error.contains("the function failed at record 6, 5, of type i64: told to"),
        "{error}"
    );
    let error = fails(|s| {
        s.map(|n| n.to_string()).for_each(|s| assert!(s != "9", "no nine"));
    });
    assert!(
        error.contains("the function panicked at record 10 of type alloc::string::String: no nine"),
        "{error}"
    );
    let error = fails(|s| {
        s.partition_custom(|n, _| *n as usize, 3)
            .map(|n| n)
            .set_parallelism(3)
            .print();
    });
    assert!(error.contains("the partitioner names subtask 3 of 3"), "{error}");
}

#[derive(Clone)]
struct FailsAt(i64);

impl KeyedProcessFunction<i64, i64> for FailsAt {
    type Out = i64;

    fn process_element(&mut self, value: i64, _: &mut ProcessContext<'_, i64, i64>) -> Result<(), BoxError> {
        match value == self.0 {
            true => Err("told to".into()),
            false => Ok(()),
        }
    }
}

/// What a failing program says, at its first failure.
fn said(describe: impl FnOnce(&StreamExecutionEnvironment)) -> String {
    let env = env();
    env.configure("restart-strategy.type", "none");
    describe(&env);
    env.execute("fails").unwrap_err().to_string()
}

fn timed(env: &StreamExecutionEnvironment) -> DataStream<i64> {
    let strategy = WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|n: &i64, _| n * 10);
    env.from_sequence(1, 20).assign_timestamps_and_watermarks(&strategy)
}

/// Wherever user code panics, the job fails and says where; it never hangs and never goes on without the record.
#[test]
fn code_that_panics_anywhere_fails_the_job() {
    fn check(n: i64) -> i64 {
        assert_ne!(n, 7, "no seven");
        n
    }
    let at_record = "the function panicked at record 7, 7, of type i64";
    type Describe = fn(&StreamExecutionEnvironment);
    let cases: [(&str, &str, Describe); 12] = [
        ("source", "the function panicked in its source", |env| {
            env.from_generator(9, |n| check(n as i64)).print();
        }),
        ("filter", at_record, |env| {
            env.from_sequence(1, 9).filter(|n| check(*n) > 0).print();
        }),
        ("flat_map", at_record, |env| {
            env.from_sequence(1, 9).flat_map(|n, out| out.collect(check(n))).print();
        }),
        ("key_by", at_record, |env| {
            env.from_sequence(1, 9)
                .key_by(|n| check(*n))
                .reduce(|a, b| a + b)
                .print();
        }),
        (
            "reduce",
            "the function panicked at record 8, 8, of type i64 with event time 80",
            |env| {
                timed(env).key_by(|_| 0).reduce(|_, n| check(n - 1)).print();
            },
        ),
        ("partitioner", at_record, |env| {
            let spread = env
                .from_sequence(1, 9)
                .partition_custom(|n, _| check(*n) as usize % 2, 2);
            spread.map(|n| n).set_parallelism(2).print();
        }),
        ("times", at_record, |env| {
            let strategy = WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|n, _| check(*n));
            env.from_sequence(1, 9)
                .assign_timestamps_and_watermarks(&strategy)
                .print();
        }),
        (
            "window",
            "the function panicked for the window TimeWindow { start: 0, end: 100 }",
            |env| {
                let windows = timed(env)
                    .key_by(|_| 0)
                    .window(TumblingEventTimeWindows::of(Duration::from_millis(100)));
                windows
                    .apply(|_, _, all, out| all.for_each(|n| out.collect(check(n))))
                    .print();
            },
        ),
        ("evictor", "the function panicked", |env| {
            let windows = timed(env)
                .count_window_all(3)
                .evictor(DeltaEvictor::of(5.0, |a: &i64, _| check(*a) as f64));
            windows.reduce(|a, b| a + b).print();
        }),
        ("sink", at_record, |env| {
            env.from_sequence(1, 9).for_each(|n| {
                check(n);
            });
        }),
        (
            "timer",
            "the function panicked in its timer of 7 ms for the key 1",
            |env| {
                timed(env).key_by(|n| n % 2).process(PanicsInTimer).print();
            },
        ),
        ("open", "the function panicked in its open: not here", |env| {
            timed(env).map_with(PanicsInOpen).print();
        }),
    ];
    for (place, expected, describe) in cases {
        let error = said(describe);
        assert!(error.contains(expected), "{place}: {error}");
        assert!(place == "open" || error.contains("no seven"), "{place}: {error}");
    }
}

#[derive(Clone)]
struct PanicsInTimer;

impl KeyedProcessFunction<i64, i64> for PanicsInTimer {
    type Out = i64;

    fn process_element(&mut self, n: i64, ctx: &mut ProcessContext<'_, i64, i64>) -> Result<(), BoxError> {
        ctx.register_event_time_timer(n);
        Ok(())
    }

    fn on_timer(&mut self, time_ms: i64, _: &mut ProcessContext<'_, i64, i64>) -> Result<(), BoxError> {
        assert_ne!(time_ms, 7, "no seven");
        Ok(())
    }
}

#[derive(Clone)]
struct PanicsInOpen;

impl MapFunction<i64> for PanicsInOpen {
    type Out = i64;

    fn open(&mut self, _: &RuntimeContext) -> Result<(), BoxError> {
        panic!("not here")
    }

    fn map(&mut self, value: i64) -> Result<i64, BoxError> {
        Ok(value)
    }
}

/// Fails until the job was restarted twice.
#[derive(Clone, Default)]
struct FailsTwice {
    attempt: u64,
}

impl MapFunction<i64> for FailsTwice {
    type Out = u64;

    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        self.attempt = ctx.attempt_number();
        Ok(())
    }

    fn map(&mut self, _: i64) -> Result<u64, BoxError> {
        match self.attempt {
            0 => panic!("first"),
            1 => Err("second".into()),
            attempt => Ok(attempt),
        }
    }
}

/// Failures and panics follow the restart strategy; attempts are counted from 0.
#[test]
fn failures_follow_the_restart_strategy() {
    let run = |attempts: &str| {
        let env = env();
        env.configure("restart-strategy.type", "fixed-delay")
            .configure("restart-strategy.fixed-delay.delay", "1 ms")
            .configure("restart-strategy.fixed-delay.attempts", attempts);
        let attempts = env.from_collection([1]).map_with(FailsTwice::default());
        attempts.execute_and_collect("fails twice")
    };
    assert_eq!(run("2").unwrap(), [2]);
    let error = run("1").unwrap_err().to_string();
    assert!(
        error.contains("the function failed at record 1, 1, of type i64: second"),
        "{error}"
    );
}

/// Declares two states of one name.
#[derive(Clone, Default)]
struct TwoOfOneName {
    is_broadcast: bool,
}

impl KeyedBroadcastProcessFunction<i64, i64, i64> for TwoOfOneName {
    type Out = i64;

    fn open(&mut self, ctx: &mut OpenKeyedBroadcastContext<'_>) -> Result<(), BoxError> {
        if self.is_broadcast {
            ctx.broadcast_state::<i64, i64>("rules")?;
            ctx.broadcast_state::<i64, i64>("rules")?;
        }
        ctx.value_state::<i64>("count")?;
        ctx.list_state::<i64>("count")?;
        Ok(())
    }

    fn process_element(&mut self, _: i64, _: &mut ProcessContext<'_, i64, i64>) -> Result<(), BoxError> {
        panic!("no record comes here")
    }

    fn process_broadcast_element(
        &mut self,
        _: i64,
        _: &mut KeyedBroadcastContext<'_, i64, i64>,
    ) -> Result<(), BoxError> {
        panic!("no record comes here")
    }
}

/// Says so before the first record, and no restart strategy tries it again.
#[test]
fn two_states_of_one_name_end_the_job_at_once() {
    for (is_broadcast, expected) in [
        (
            false,
            "two states are named 'count': state is found by its name, so give one another",
        ),
        (
            true,
            "two broadcast states are named 'rules': state is found by its name, so give one another",
        ),
    ] {
        let env = env();
        env.configure("restart-strategy.type", "fixed-delay")
            .configure("restart-strategy.fixed-delay.attempts", "1000000")
            .configure("restart-strategy.fixed-delay.delay", "1 h");
        let rules = env.from_sequence(1, 3).broadcast_stream();
        let counts = env.from_sequence(1, 9).key_by(|n| *n).connect_broadcast(&rules);
        counts.process(TwoOfOneName { is_broadcast }).print();
        let error = env.execute("two of one name").unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// Declares two lists of one name.
#[derive(Clone)]
struct TwoLists;

impl MapFunction<i64> for TwoLists {
    type Out = i64;

    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        ctx.operator_list_state::<i64>("waiting")?;
        ctx.operator_union_list_state::<i64>("waiting")?;
        Ok(())
    }

    fn map(&mut self, _: i64) -> Result<i64, BoxError> {
        panic!("no record comes here")
    }
}

#[test]
fn two_lists_of_one_name_end_the_job_at_once() {
    let env = env();
    env.configure("restart-strategy.type", "fixed-delay")
        .configure("restart-strategy.fixed-delay.attempts", "1000000")
        .configure("restart-strategy.fixed-delay.delay", "1 h");
    env.from_sequence(1, 9).map_with(TwoLists).print();
    let error = env.execute("two lists").unwrap_err().to_string();
    let expected = "two operator states are named 'waiting': state is found by its name, so give one another";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn bounds_of_an_interval_the_wrong_way_round_are_refused_before_the_start() {
    let said = refused(|env| {
        let numbers = env.from_sequence(0, 9).key_by(|n| *n);
        let joined = numbers.interval_join(&numbers).between(5, -5);
        joined.process(|a, b, out| out.collect(a + b)).print();
    });
    assert_eq!(
        said,
        "an interval join is between 5 ms and -5 ms: the lower bound must not be above the upper"
    );
}

/// A handle that `open` has not declared says how to.
#[test]
fn a_state_that_is_not_declared_is_told() {
    #[derive(Clone, Default)]
    struct Undeclared(ValueState<i64>);
    impl KeyedProcessFunction<i64, i64> for Undeclared {
        type Out = i64;
        fn process_element(&mut self, n: i64, ctx: &mut ProcessContext<'_, i64, i64>) -> Result<(), BoxError> {
            self.0.update(ctx, n);
            Ok(())
        }
    }
    let error = said(|env| {
        env.from_sequence(1, 9)
            .key_by(|n| *n)
            .process(Undeclared::default())
            .print();
    });
    let expected = "a state is used that open() has not declared: self.state = ctx.value_state(\"name\")?";
    assert!(error.contains(expected), "{error}");
}
