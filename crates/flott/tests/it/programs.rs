//! What transformations and exchanges do.

use super::{env, sorted};
use flott::prelude::*;
use flott_plan::{JobGraph, Partitioning};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

fn chains(env: &StreamExecutionEnvironment) -> Vec<String> {
    let (plan, _) = env.program("test").unwrap().into_parts(flott::registry());
    let graph = JobGraph::of(&plan, true);
    graph
        .vertices
        .into_iter()
        .map(|v| format!("{} x{}", v.name, v.parallelism))
        .collect()
}

/// S7 of the samples, G7: the rows in this order, in one chain.
#[test]
fn map_times_two() {
    let env = env();
    env.set_parallelism(1);
    let doubled = env.from_collection([1, 2, 3, 4, 5]).map(|x| x * 2);
    assert_eq!(
        doubled.execute_and_collect("real-time-flink-example").unwrap(),
        [2, 4, 6, 8, 10]
    );
    env.from_collection([1, 2, 3, 4, 5])
        .map(|x| x * 2)
        .map(|x: i32| x + 1)
        .print();
    let expected = "Source: Collection Source[1] -> Map[2] -> Map[3] -> Sink: Print to Std. Out[4] x1";
    assert_eq!(chains(&env), [expected]);
}

/// What is collected is in its stream's order, though other operators of the job have more subtasks.
#[test]
fn what_is_collected_stays_in_order() {
    let env = env();
    env.set_parallelism(4).configure("execution.batch-rows", "1");
    let numbers: Vec<i64> = (1..=2_000).collect();
    let stream = env.from_collection(numbers.clone());
    assert_eq!(stream.execute_and_collect("all").unwrap(), numbers);
    let some = stream.execute_and_collect_limit("some", 500).unwrap();
    assert_eq!(some, numbers[..500]);
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Visit {
    website: String,
    count: i64,
}

/// A struct with private fields flows, and a function may be a struct that counts what it saw.
#[test]
fn structs_flow_and_functions_may_be_structs() {
    #[derive(Clone)]
    struct Parse {
        prefix: String,
        opened: Arc<AtomicUsize>,
        closed: Arc<AtomicUsize>,
    }
    impl FlatMapFunction<String> for Parse {
        type Out = Visit;
        fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
            self.prefix = format!("{}/", ctx.number_of_parallel_subtasks());
            self.opened.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
        fn flat_map(&mut self, line: String, out: &mut Collector<Visit>) -> Result<(), BoxError> {
            let Some((website, count)) = line.split_once(',') else {
                return Ok(());
            };
            out.collect(Visit {
                website: format!("{}{website}", self.prefix),
                count: count.parse()?,
            });
            Ok(())
        }
        fn close(&mut self) -> Result<(), BoxError> {
            self.closed.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }
    let env = env();
    env.set_parallelism(2);
    let (opened, closed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let parse = Parse {
        prefix: String::new(),
        opened: opened.clone(),
        closed: closed.clone(),
    };
    let visits = env
        .from_collection(["a.com,2", "bad", "b.com,3"].map(String::from))
        .flat_map_with(parse)
        .filter(|v| v.count > 2);
    let visit = Visit {
        website: "2/b.com".into(),
        count: 3,
    };
    assert_eq!(sorted(visits), [visit]);
    assert_eq!((opened.load(Ordering::SeqCst), closed.load(Ordering::SeqCst)), (2, 2));
}

#[test]
fn every_exchange_brings_every_record_once_or_to_all() {
    let numbers: Vec<i64> = (0..1000).collect();
    type Spread = fn(&DataStream<i64>) -> DataStream<i64>;
    let once: [(&str, Spread); 5] = [
        ("rebalance", DataStream::rebalance),
        ("rescale", DataStream::rescale),
        ("shuffle", DataStream::shuffle),
        ("global", DataStream::global),
        ("custom", |s| {
            s.partition_custom(|n, subtasks| *n as usize % subtasks, 3)
        }),
    ];
    for (name, spread) in once {
        let env = env();
        env.set_parallelism(2);
        let stream = spread(&env.from_sequence(0, 999)).map(|n| n).set_parallelism(3);
        assert_eq!(sorted(stream), numbers, "{name}");
    }
    let env = env();
    env.set_parallelism(2);
    let stream = env.from_sequence(0, 9).broadcast().map(|n| n).set_parallelism(3);
    assert_eq!(sorted(stream), (0..30).map(|n| n / 3).collect::<Vec<i64>>());
}

/// Which subtask a record came to.
#[derive(Clone, Default)]
struct Where(usize);

impl MapFunction<i64> for Where {
    type Out = (usize, i64);
    fn open(&mut self, ctx: &RuntimeContext) -> Result<(), BoxError> {
        self.0 = ctx.index_of_this_subtask();
        Ok(())
    }
    fn map(&mut self, value: i64) -> Result<(usize, i64), BoxError> {
        Ok((self.0, value))
    }
}

#[test]
fn records_come_to_the_subtask_that_is_asked_for() {
    let subtasks = |spread: fn(&DataStream<i64>) -> DataStream<i64>| {
        let env = env();
        env.set_parallelism(2);
        let at = sorted(
            spread(&env.from_sequence(0, 999))
                .map_with(Where::default())
                .set_parallelism(4),
        );
        let mut by_subtask: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
        at.into_iter()
            .for_each(|(subtask, n)| by_subtask.entry(subtask).or_default().push(n));
        by_subtask
    };
    let custom = subtasks(|s| s.partition_custom(|n, subtasks| *n as usize % subtasks, 4));
    for (subtask, numbers) in &custom {
        assert!(numbers.iter().all(|n| *n as usize % 4 == *subtask));
    }
    assert_eq!(custom.len(), 4);
    assert_eq!(subtasks(DataStream::global).into_keys().collect::<Vec<_>>(), [0]);
    for spread in [DataStream::rebalance, DataStream::rescale, DataStream::shuffle] {
        let sizes: Vec<usize> = subtasks(spread).values().map(Vec::len).collect();
        assert!(sizes.len() == 4 && sizes.iter().all(|n| *n > 100), "{sizes:?}");
    }
}

/// To which subtask records went, and from which.
#[test]
fn neighbours_talk_to_neighbours() {
    let pairs = |spread: fn(&DataStream<i64>) -> DataStream<i64>, readers: usize| {
        let env = env();
        env.set_parallelism(2);
        let from = env
            .from_sequence(0, 999)
            .map_with(Where::default())
            .map(|at| at.0 as i64);
        let to = sorted(spread(&from).map_with(Where::default()).set_parallelism(readers));
        to.into_iter().collect::<BTreeSet<_>>()
    };
    assert_eq!(pairs(DataStream::forward, 2), [(0, 0), (1, 1)].into());
    assert_eq!(pairs(DataStream::rescale, 4), [(0, 0), (1, 0), (2, 1), (3, 1)].into());
}

#[test]
fn chains_begin_and_end_where_they_are_told_to() {
    let chains = |hint: fn(DataStream<i64>) -> DataStream<i64>| {
        let env = env();
        env.set_parallelism(1);
        hint(env.from_sequence(0, 9).map(|n| n)).map(|n| n).for_each(drop);
        chains(&env)
    };
    let (source, sink) = ("Source: Sequence Source[1]", "Sink: For Each[4]");
    assert_eq!(chains(|s| s), [format!("{source} -> Map[2] -> Map[3] -> {sink} x1")]);
    assert_eq!(
        chains(DataStream::start_new_chain),
        [format!("{source} x1"), format!("Map[2] -> Map[3] -> {sink} x1")]
    );
    assert_eq!(
        chains(DataStream::disable_chaining),
        [
            format!("{source} x1"),
            "Map[2] x1".to_owned(),
            format!("Map[3] -> {sink} x1")
        ]
    );
    assert_eq!(
        chains(|s| s.slot_sharing_group("heavy")),
        [format!("{source} x1"), format!("Map[2] -> Map[3] -> {sink} x1")],
        "what follows is of the group of its input"
    );
    let env = env();
    env.set_parallelism(1);
    env.from_sequence(0, 9).map(|n| n).print().disable_chaining();
    env.from_sequence(0, 9).print().slot_sharing_group("sinks");
    let sink = "Sink: Print to Std. Out";
    assert_eq!(
        self::chains(&env),
        [
            format!("{source} -> Map[2] x1"),
            format!("{sink}[3] x1"),
            "Source: Sequence Source[4] x1".to_owned(),
            format!("{sink}[5] x1"),
        ]
    );
}

/// Slots are those of all groups together: of the widest operator of each.
#[test]
fn slots_are_counted_by_group() {
    let groups = |describe: fn(&StreamExecutionEnvironment)| {
        let env = env();
        env.set_parallelism(2);
        describe(&env);
        let program = env.program("test").unwrap();
        (program.slots(), program.slots_by_group())
    };
    let of = |groups: &[(&str, usize)]| {
        let groups = groups.iter().map(|(group, slots)| ((*group).to_owned(), *slots));
        groups.collect::<BTreeMap<_, _>>()
    };
    let (slots, by_group) = groups(|env| {
        env.from_sequence(0, 9).map(|n| n).set_parallelism(3).print();
    });
    assert_eq!((slots, by_group), (3, of(&[("default", 3)])));
    // A union of two groups is of neither, a key does not change the group, and who says default is of it.
    let (slots, by_group) = groups(|env| {
        let heavy = env.from_sequence(0, 9).slot_sharing_group("heavy");
        let sums = heavy.key_by(|n| n % 2).reduce(|a, b| a + b).set_parallelism(5);
        sums.map(|n| n).slot_sharing_group("default").set_parallelism(1).print();
        heavy
            .union(&[&env.from_sequence(0, 9)])
            .map(|n| n)
            .set_parallelism(4)
            .print();
    });
    assert_eq!((slots, by_group), (9, of(&[("default", 4), ("heavy", 5)])));
}

#[test]
fn a_stream_is_read_twice_and_joined_again() {
    let env = env();
    env.set_parallelism(2);
    let numbers = env.from_sequence(1, 100);
    let small = numbers.filter(|n| *n <= 3);
    let large = numbers.filter(|n| *n > 98).map(|n| n * 10);
    assert_eq!(sorted(small.union(&[&large, &small])), [1, 1, 2, 2, 3, 3, 990, 1000]);
}

#[test]
fn one_record_may_become_more_than_a_batch() {
    let env = StreamExecutionEnvironment::get_execution_environment();
    let many = env
        .from_collection([20_000u32, 5])
        .flat_map(|n, out| (0..n).for_each(|i| out.collect(i)))
        .map(|n| u64::from(n) + 1);
    let collected = many.execute_and_collect("many").unwrap();
    assert_eq!((collected.len(), collected.iter().sum::<u64>()), (20_005, 200_010_015));
}

#[test]
fn a_sink_gets_each_record() {
    let env = env();
    let seen = Arc::new(Mutex::new(vec![]));
    let sink = seen.clone();
    env.from_collection(["b", "a"].map(String::from))
        .for_each(move |s| sink.lock().unwrap().push(s))
        .name("letters");
    env.execute("letters").unwrap();
    assert_eq!(*seen.lock().unwrap(), ["b", "a"]);
}

/// R012: operator, environment, options from outside.
#[test]
fn the_nearest_parallelism_wins() {
    let with_default = || {
        let options = [("parallelism.default", "3"), ("pipeline.max-parallelism", "64")];
        StreamExecutionEnvironment::create_local_environment(options.into_iter().collect())
    };
    let parallelisms = |env: &StreamExecutionEnvironment| {
        env.from_sequence(0, 1).map(|n| n).set_parallelism(5).map(|n| n).print();
        let (plan, _) = env.program("test").unwrap().into_parts(flott::registry());
        assert!(plan.nodes.iter().all(|n| n.max_parallelism == 64));
        let edges: Vec<_> = plan.edges.iter().map(|e| e.partitioning.clone()).collect();
        assert_eq!(
            edges,
            [Partitioning::Rebalance, Partitioning::Rebalance, Partitioning::Forward]
        );
        plan.nodes.iter().map(|n| n.parallelism).collect::<Vec<_>>()
    };
    assert_eq!(parallelisms(&with_default()), [3, 5, 3, 3]);
    let env = with_default();
    env.set_parallelism(2);
    assert_eq!(parallelisms(&env), [2, 5, 2, 2]);
}

/// A new map or filter moves no state; a uid keeps it wherever the operator goes.
#[test]
fn ids_belong_to_what_keeps_state() {
    let ids = |change: bool, uid: bool| {
        let env = env();
        let mut stream = env.from_sequence(0, 9);
        if change {
            stream = stream.filter(|n| *n > 1).map(|n| n + 1);
        }
        let sink = stream.print();
        if uid {
            sink.uid("out");
        }
        let (plan, _) = env.program("test").unwrap().into_parts(flott::registry());
        let (first, last) = (&plan.nodes[0], &plan.nodes[plan.nodes.len() - 1]);
        (first.operator_id, last.operator_id)
    };
    assert_eq!(ids(false, false), ids(true, false));
    assert_ne!(ids(false, false).1, ids(false, true).1);
    assert_eq!(ids(false, true).1, ids(true, true).1);
}

/// A program may be the body of an asynchronous `main`.
#[test]
fn a_program_runs_inside_an_asynchronous_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let collected = runtime.block_on(async { env().from_collection([1, 2]).execute_and_collect("inside") });
    assert_eq!(collected.unwrap(), [1, 2]);
}

/// What an executed job read is there for the next one, which runs what was described since.
#[test]
fn a_stream_is_read_by_a_later_job() {
    let env = env();
    let numbers = env.from_sequence(1, 4).map(|n| n * 10);
    assert_eq!(sorted(numbers.map(|n| n + 1)), [11, 21, 31, 41]);
    let large = numbers.filter(|n| *n > 20);
    assert_eq!(sorted(large.union(&[&numbers])), [10, 20, 30, 30, 40, 40]);
    assert_eq!(sorted(numbers.key_by(|n| n % 20).sum(|n| n)), [10, 20, 40, 60]);
    let env = super::env();
    assert_eq!(
        sorted(env.from_sequence(i64::MAX - 1, i64::MAX)),
        [i64::MAX - 1, i64::MAX]
    );
    assert_eq!(sorted(env.from_sequence(3, 2)), [] as [i64; 0]);
}
