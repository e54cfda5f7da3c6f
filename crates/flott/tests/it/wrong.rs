//! What is said of programs that are wrong, and of functions that fail.

use super::env;
use flott::prelude::*;

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
