//! How tables over streams are planned into the program's job: in which order changes come, whose state a query's is, when time goes on; and
//! how columns and fields find each other.

use super::env;
use async_trait::async_trait;
use flott::datastream::{Records, TypedSource};
use flott::prelude::*;
use flott::runtime::connector::{Boundedness, ConnectorError, ReaderPoll, Split};
use flott::runtime::{OperatorContext, Source, SourceReader, SplitEnumerator, TaskError};
use flott::table::{Decimal, Time, Value};
use flott_core::{CheckpointId, OperatorId};
use flott_plan::Plan;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn scores() -> Schema {
    Schema::new().column("name", "STRING").column("score", "INT")
}

fn change(kind: RowKind, name: &str, score: i32) -> Row {
    Row::of_kind(kind, (name, score))
}

/// How parallel the scans of a plan are.
fn scans(plan: &Plan) -> Vec<usize> {
    let scans = plan.nodes.iter().filter(|n| n.name.starts_with("Stream to Table"));
    scans.map(|n| n.parallelism).collect()
}

/// A union is read where it is, if its streams are of one parallelism, and refused if the changes of a row could overtake each other.
#[test]
fn changes_of_a_union_stay_in_order() {
    use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};
    let env = env();
    env.set_parallelism(4).configure("execution.batch-rows", "1");
    let tables = StreamTableEnvironment::create(&env).unwrap();
    let first = env.from_collection([
        change(Insert, "ann", 1),
        change(UpdateBefore, "ann", 1),
        change(UpdateAfter, "ann", 2),
    ]);
    let second = env.from_collection([change(Insert, "bob", 5), change(Delete, "bob", 5)]);
    let table = tables
        .from_changelog_stream_with(&first.union(&[&second]), scores(), ChangelogMode::All)
        .unwrap();
    let sums = tables
        .sql_query(&format!("SELECT name, SUM(score) AS s FROM {table} GROUP BY name"))
        .unwrap();
    let sums = || tables.to_changelog_stream::<Row>(&sums).unwrap();
    sums().print();
    assert_eq!(scans(&env.program("plan").unwrap().plan), [1]);
    let mut last = BTreeMap::new();
    for row in sums().execute_and_collect("sums").unwrap() {
        let name = row.get(0).unwrap().to_string();
        match row.kind() {
            Insert | UpdateAfter => drop(last.insert(name, row.get(1).cloned())),
            UpdateBefore | Delete => drop(last.remove(&name)),
        }
    }
    assert_eq!(last, BTreeMap::from([("ann".to_owned(), Some(Value::Int(2)))]));

    let wider = second.map(|row| row).set_parallelism(2);
    let union = first.union(&[&wider]);
    let error_of = |stream: DataStream<Row>| {
        stream.print();
        env.program("wrong").unwrap_err().to_string()
    };
    let table = tables
        .from_changelog_stream_with(&union, scores(), ChangelogMode::All)
        .unwrap();
    let error = error_of(tables.to_changelog_stream(&table).unwrap());
    assert!(
        error.contains("'Source: Collection Source' has a parallelism of 1 and 'Map' of 2")
            && error.contains("one parallelism"),
        "{error}"
    );
    // The same of streams that a query unites.
    let tables_of = |stream: &DataStream<Row>| {
        let table = tables.from_changelog_stream_with(stream, scores(), ChangelogMode::All);
        table.unwrap()
    };
    let (one, two) = (tables_of(&first), tables_of(&wider));
    let both = tables
        .sql_query(&format!(
            "SELECT UPPER(name) FROM (SELECT * FROM {one} UNION ALL SELECT * FROM {two}) WHERE score > 0"
        ))
        .unwrap();
    let error = error_of(tables.to_changelog_stream(&both).unwrap());
    assert!(
        error.contains("changes with a parallelism of 1, with rows of a parallelism of 2"),
        "{error}"
    );
    // Rows that only come need no order, and one subtask keeps that of each of its inputs.
    let inserts = tables.from_data_stream_with(&union, scores()).unwrap();
    tables.to_data_stream::<Row>(&inserts).unwrap().print();
    assert_eq!(scans(&env.program("inserts").unwrap().plan), [4]);
    let narrow = sums().set_parallelism(1);
    narrow.print().set_parallelism(1);
    assert!(env.program("narrow").is_ok());
    let spread = error_of(sums().set_parallelism(2));
    assert!(spread.contains("set_parallelism(2) of a stream of changes"), "{spread}");
}

/// Ids of the nodes whose state a query keeps.
fn ids(plan: &Plan) -> Vec<OperatorId> {
    let grouped = plan.nodes.iter().filter(|n| n.description.contains("groupBy=[k]"));
    let ids: Vec<OperatorId> = grouped.map(|n| n.operator_id).collect();
    assert!(!ids.is_empty());
    ids
}

const SUMS: &str = "SELECT f0 / 2 AS k, SUM(f0) AS s FROM numbers GROUP BY f0 / 2";

/// The plan of a program over the tables `numbers` and `others`.
fn planned(describe: impl FnOnce(&StreamTableEnvironment)) -> Plan {
    let env = env();
    env.set_parallelism(2);
    let tables = StreamTableEnvironment::create(&env).unwrap();
    for name in ["numbers", "others"] {
        tables.create_temporary_view(name, &env.from_sequence(1, 9)).unwrap();
    }
    describe(&tables);
    env.program("plan").unwrap().plan
}

fn read(tables: &StreamTableEnvironment, query: &str) -> DataStream<Row> {
    let table = tables.sql_query(query).unwrap();
    tables.to_changelog_stream::<Row>(&table).unwrap()
}

/// What else a program reads takes no state from a stream with a uid, nor from a statement, nor from a stream of other tables.
#[test]
fn state_of_a_query_stays_its_own() {
    let with_uid = |tables: &StreamTableEnvironment| drop(read(tables, SUMS).uid("sums").print());
    let alone = planned(with_uid);
    let beside = planned(|tables| {
        read(tables, SUMS).print();
        with_uid(tables);
    });
    assert_eq!(ids(&alone), ids(&beside), "a stream for a look is added before");

    let others = SUMS.replace("numbers", "others");
    let alone = planned(|tables| drop(read(tables, &others).print()));
    let behind = planned(|tables| {
        read(tables, "SELECT f0 / 2 AS n, MAX(f0) AS m FROM numbers GROUP BY f0 / 2").print();
        read(tables, &others).print();
    });
    assert_eq!(ids(&alone), ids(&behind), "the first of two streams is taken away");
    // Tables without a name are told apart by their place among themselves only.
    let unnamed = |tables: &StreamTableEnvironment| {
        let numbers = tables.from("numbers").unwrap();
        let numbers = tables.to_data_stream::<i64>(&numbers).unwrap();
        let table = tables.from_data_stream(&numbers).unwrap();
        let sums = SUMS.replace("numbers", &table.to_string());
        read(tables, &sums).print();
    };
    let alone = planned(unnamed);
    let behind = planned(|tables| {
        tables.sql_query("SELECT 1").unwrap();
        unnamed(tables);
    });
    assert_eq!(ids(&alone), ids(&behind), "a query is added before");
}

#[cfg(feature = "connectors")]
#[test]
fn state_of_a_statement_stays_its_own() {
    let insert = |tables: &StreamTableEnvironment| {
        let create = "CREATE TABLE sums (k BIGINT, s BIGINT) WITH ('connector' = 'blackhole')";
        tables.execute_sql(create).unwrap();
        let sums = tables.sql_query(SUMS).unwrap();
        sums.insert_into("sums").unwrap().attach_as_data_stream();
    };
    let alone = planned(insert);
    let beside = planned(|tables| {
        read(tables, SUMS).print();
        insert(tables);
    });
    assert_eq!(
        ids(&alone),
        ids(&beside),
        "what a statement writes is read as a stream, too"
    );
}

/// Two splits: one hands out its records, the other never any. Both end when the test has seen what it waits for.
#[derive(Clone)]
struct HalfSilent {
    records: Arc<[(String, i64)]>,
    is_seen: Arc<AtomicBool>,
    is_late: Arc<AtomicBool>,
}

impl TypedSource for HalfSilent {
    type Out = (String, i64);
}

impl Source for HalfSilent {
    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn enumerator(&self, _restored: Option<&[u8]>) -> Result<Box<dyn SplitEnumerator>, ConnectorError> {
        Ok(Box::new(TwoSplits))
    }

    fn reader(&self, _ctx: &OperatorContext) -> Result<Box<dyn SourceReader>, TaskError> {
        Ok(Box::new(HalfSilentReader {
            source: self.clone(),
            split: None,
            is_handed_out: false,
            is_complete: false,
            deadline: Instant::now() + Duration::from_secs(60),
        }))
    }
}

struct TwoSplits;

#[async_trait]
impl SplitEnumerator for TwoSplits {
    async fn discover(&mut self) -> Result<Vec<Split>, ConnectorError> {
        let split = |id: &str| Split {
            id: id.to_owned(),
            state: vec![],
        };
        Ok(vec![split("0"), split("1")])
    }

    fn discovery_interval(&self) -> Option<Duration> {
        None
    }

    fn owner(&self, split: &Split, parallelism: usize) -> usize {
        split.id.parse::<usize>().unwrap() % parallelism
    }

    fn snapshot(&self) -> Vec<u8> {
        vec![]
    }
}

struct HalfSilentReader {
    source: HalfSilent,
    split: Option<String>,
    is_handed_out: bool,
    is_complete: bool,
    deadline: Instant,
}

impl SourceReader for HalfSilentReader {
    fn add_splits(&mut self, splits: Vec<Split>) -> Result<(), TaskError> {
        self.split = splits.into_iter().next().map(|split| split.id).or(self.split.take());
        Ok(())
    }

    fn no_more_splits(&mut self) {
        self.is_complete = true;
    }

    fn poll(&mut self, now_ms: i64) -> Result<ReaderPoll, TaskError> {
        let Some(split) = &self.split else {
            return Ok(match self.is_complete {
                true => ReaderPoll::Finished,
                false => ReaderPoll::Idle { until_ms: None },
            });
        };
        if split == "0" && !std::mem::replace(&mut self.is_handed_out, true) {
            let records = Records::of(self.source.records.to_vec());
            return Ok(ReaderPoll::Batch {
                split: 0,
                batch: records.into_batch(),
            });
        }
        let is_late = Instant::now() > self.deadline;
        self.source.is_late.fetch_or(is_late, Ordering::SeqCst);
        if is_late || self.source.is_seen.load(Ordering::SeqCst) {
            self.split = None;
            return Ok(ReaderPoll::SplitFinished(0));
        }
        Ok(ReaderPoll::Idle {
            until_ms: Some(now_ms + 1),
        })
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId) -> Result<Vec<Split>, TaskError> {
        Ok(vec![])
    }
}

/// A subtask of a stream without records holds back no time that the table makes itself.
#[test]
fn silence_of_a_stream_holds_no_window_back() {
    for interval in ["10 ms", "0"] {
        let env = env();
        env.set_parallelism(2)
            .configure("pipeline.auto-watermark-interval", interval)
            .configure("table.exec.source.idle-timeout", "30 ms");
        let tables = StreamTableEnvironment::create(&env).unwrap();
        let records = [("a", 1_000), ("a", 2_000), ("b", 61_500)];
        let source = HalfSilent {
            records: records.iter().map(|(who, at)| ((*who).to_owned(), *at)).collect(),
            is_seen: Arc::default(),
            is_late: Arc::default(),
        };
        let clicks = env.from_source(source.clone(), WatermarkStrategy::no_watermarks(), "clicks");
        let schema = Schema::new()
            .column_by_expression("at", "TO_TIMESTAMP_LTZ(f1, 3)")
            .watermark("at", "at - INTERVAL '1' SECOND");
        tables.create_temporary_view("clicks", (&clicks, schema)).unwrap();
        let counts = tables
            .sql_query(
                "SELECT f0 AS who, COUNT(*) AS n FROM TUMBLE(TABLE clicks, DESCRIPTOR(at), INTERVAL '1' MINUTE)
                 GROUP BY f0, window_start, window_end",
            )
            .unwrap();
        let counts = tables.to_data_stream::<(String, i64)>(&counts).unwrap();
        let is_seen = source.is_seen.clone();
        counts.for_each(move |_| is_seen.store(true, Ordering::SeqCst));
        env.execute("silence").unwrap();
        let is_late = source.is_late.load(Ordering::SeqCst);
        assert!(!is_late, "the window came with the end of the stream only ({interval})");
    }
}

/// SQL runs as a stream where the mode is left open, and is refused in batch mode.
#[test]
fn the_mode_of_a_job_with_sql_is_streaming() {
    for is_set_before in [true, false] {
        let planned = |mode: &str| {
            let env = env();
            if is_set_before {
                env.configure("execution.runtime-mode", mode);
            }
            let tables = StreamTableEnvironment::create(&env).unwrap();
            env.configure("execution.runtime-mode", mode);
            tables
                .create_temporary_view("numbers", &env.from_sequence(1, 3))
                .unwrap();
            let sum = tables.sql_query("SELECT SUM(f0) FROM numbers").unwrap();
            if mode != "batch" {
                assert!(sum.explain().unwrap().contains("GroupAggregate"));
            }
            tables.to_changelog_stream::<Row>(&sum).unwrap().print();
            let program = env.program("mode").map_err(|e| e.to_string())?;
            Ok(program.plan.options.get("execution.runtime-mode").map(str::to_owned))
        };
        assert_eq!(planned("automatic"), Ok(Some("STREAMING".to_owned())));
        let error: String = planned("batch").unwrap_err();
        assert!(
            error.contains("'execution.runtime-mode' to STREAMING") && error.contains("SQL"),
            "{error}"
        );
    }
}

/// A table stays what it is when short names come to mean something else.
#[test]
fn a_table_is_no_name() {
    let env = env();
    let tables = StreamTableEnvironment::create(&env).unwrap();
    tables
        .create_temporary_view("numbers", &env.from_sequence(1, 2))
        .unwrap();
    let named = tables.from("numbers").unwrap();
    let query = tables.sql_query("SELECT f0 + 1 FROM numbers").unwrap();
    let unnamed = tables.from_data_stream(&env.from_sequence(5, 6)).unwrap();
    tables.execute_sql("CREATE DATABASE other").unwrap();
    tables.execute_sql("USE other").unwrap();
    for (table, expected) in [(&named, [1, 2]), (&query, [2, 3]), (&unnamed, [5, 6])] {
        let stream = tables.to_data_stream::<i64>(table).unwrap();
        assert_eq!(super::sorted(stream), expected);
    }
    assert!(tables.from("numbers").is_err());
    let error = tables.from("default_database.numbers WHERE f0 > 1").unwrap_err();
    assert!(!error.to_string().is_empty());
    let far = tables.from("default_database.numbers").unwrap();
    assert_eq!(far.to_string(), "`default_catalog`.`default_database`.`numbers`");
}

#[test]
fn times_keep_their_milliseconds_and_rows_are_equal_by_value() {
    let env = env();
    let tables = StreamTableEnvironment::create(&env).unwrap();
    let time = 36_000_123;
    let rows = env.from_collection([Row::of([Value::Time(time)])]);
    let schema = Schema::new().column("t", "TIME(3) NOT NULL");
    let table = tables.from_data_stream_with(&rows, schema).unwrap();
    let times = tables.to_data_stream::<Time>(&table).unwrap();
    assert_eq!(
        times.execute_and_collect("times").unwrap(),
        [Time::from_millis_of_day(time)]
    );
    let times = env.from_collection([Time::from_millis_of_day(time)]);
    let schema = Schema::new().column("t", "TIME NOT NULL");
    let table = tables.from_data_stream_with(&times, schema).unwrap();
    let back = tables.to_data_stream::<Time>(&table).unwrap();
    assert_eq!(back.execute_and_collect("times").unwrap().len(), 1);
    let rows = table.execute().unwrap().collect();
    assert!(rows[0].names().is_some());
    assert_eq!(rows, [Row::of([Value::Time(time)])]);
    assert_ne!(rows, [Row::of_kind(RowKind::Delete, [Value::Time(time)])]);
}

#[derive(Clone)]
struct WithTime;

impl ProcessFunction<Change<(String, i64)>> for WithTime {
    type Out = (String, i64, Option<i64>);

    fn process_element(
        &mut self,
        change: Change<(String, i64)>,
        ctx: &mut Context<'_, Self::Out>,
    ) -> Result<(), BoxError> {
        let (name, n) = change.row;
        let time = ctx.timestamp();
        ctx.collect((name, n, time));
        Ok(())
    }
}

/// The event time of a tuple is a column of the table and none of the tuple, wherever it stands.
#[test]
fn a_tuple_takes_its_event_time_from_a_column() {
    let env = env();
    let tables = StreamTableEnvironment::create(&env).unwrap();
    tables
        .create_temporary_view("clicks", &env.from_collection([("a".to_owned(), 7i64)]))
        .unwrap();
    for columns in ["f0, f1, at", "f0, at, f1", "at, f0, f1"] {
        let table = format!("SELECT {columns} FROM (SELECT *, TO_TIMESTAMP_LTZ(f1 * 1000, 3) AS at FROM clicks)");
        let table = tables.sql_query(&table).unwrap();
        let schema = Schema::new().column_by_metadata_key("at", "TIMESTAMP_LTZ(3)", "rowtime");
        let changes =
            tables.to_changelog_stream_with::<Change<(String, i64)>>(&table, schema.clone(), ChangelogMode::All);
        let timed = changes.unwrap().process(WithTime).execute_and_collect("timed").unwrap();
        assert_eq!(timed, [("a".to_owned(), 7, Some(7_000))], "{columns}");
        let wrong = tables.to_changelog_stream_with::<Change<(String,)>>(&table, schema, ChangelogMode::All);
        let error = wrong.unwrap_err().to_string();
        assert!(
            error.contains("1 fields without names of their own, and the table 2 columns beside its event time"),
            "{error}"
        );
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StateValue)]
struct Place {
    city: String,
    street: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StateValue)]
struct Swapped {
    street: String,
    city: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StateValue)]
struct Holder {
    place: Place,
    places: Vec<Place>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StateValue)]
struct OtherPlace {
    place: Swapped,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StateValue)]
struct OtherPlaces {
    places: Vec<Swapped>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StateValue)]
struct Unnamed {
    place: (String, String),
}

/// Fields of a ROW within a row go by place, so other names are an error, not other values.
#[test]
fn nested_fields_are_not_mixed_up() {
    let env = env();
    let tables = StreamTableEnvironment::create(&env).unwrap();
    let place = Place {
        city: "Bonn".to_owned(),
        street: "Am Hof".to_owned(),
    };
    let holder = Holder {
        places: vec![place.clone()],
        place,
    };
    tables
        .create_temporary_view("holders", &env.from_collection([holder.clone()]))
        .unwrap();
    let holders = tables.from("holders").unwrap();
    let error = tables.to_data_stream::<OtherPlace>(&holders).unwrap_err().to_string();
    for part in [
        "column 'place' of the table has ROW<city, street>",
        "of the record has ROW<street, city>",
        "CAST(`place` AS ROW<`street` STRING NOT NULL, `city` STRING NOT NULL>)",
        "ROW(`place`.…, …)",
    ] {
        assert!(error.contains(part), "'{part}' is missing in: {error}");
    }
    let error = tables.to_data_stream::<OtherPlaces>(&holders).unwrap_err().to_string();
    assert!(error.contains("their names differ"), "{error}");
    let same = tables.to_data_stream::<Holder>(&holders).unwrap();
    assert_eq!(same.execute_and_collect("same").unwrap(), [holder]);
    let built = "SELECT ROW(h.place.street, h.place.city) AS place FROM holders AS h";
    let built = tables.to_data_stream::<OtherPlace>(&tables.sql_query(built).unwrap());
    let built = built.unwrap().execute_and_collect("built").unwrap();
    assert_eq!(
        (built[0].place.street.as_str(), built[0].place.city.as_str()),
        ("Am Hof", "Bonn")
    );
    let unnamed = tables.to_data_stream::<Unnamed>(&holders).unwrap();
    let unnamed = unnamed.execute_and_collect("unnamed").unwrap();
    assert_eq!(unnamed[0].place, ("Bonn".to_owned(), "Am Hof".to_owned()));
}

/// Operators of SQL are of the slot sharing group of the streams that they read.
#[test]
fn sql_stays_in_the_slot_sharing_group_of_its_streams() {
    let env = env();
    env.set_parallelism(2);
    let tables = StreamTableEnvironment::create(&env).unwrap();
    let heavy = env.from_sequence(1, 9).slot_sharing_group("heavy");
    tables.create_temporary_view("numbers", &heavy).unwrap();
    read(&tables, SUMS).print();
    let program = env.program("groups").unwrap();
    assert_eq!(program.slots_by_group(), BTreeMap::from([("heavy".to_owned(), 2)]));
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StateValue)]
struct Priced {
    id: i64,
    prices: Vec<Decimal<4, 2>>,
}

/// What a record's own types do not refuse is refused where it becomes a column, and the other way round; with its place and value.
#[test]
fn a_value_that_does_not_fit_is_named() {
    let env = env();
    env.set_parallelism(1);
    let tables = StreamTableEnvironment::create(&env).unwrap();
    let priced = |id: i64, cents: i128| Priced {
        id,
        prices: vec![Decimal::from_unscaled(100), Decimal::from_unscaled(cents)],
    };
    let stream = env.from_collection([priced(1, 9_999), priced(2, -9_999), priced(3, 10_000)]);
    let table = tables.from_data_stream(&stream).unwrap();
    let error = table.execute().unwrap_err().to_string();
    for part in [
        "record 3",
        "column 'prices' is ARRAY<DECIMAL(4, 2) NOT NULL>",
        "holds 100.00",
    ] {
        assert!(error.contains(part), "'{part}' is missing in: {error}");
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StateValue)]
    struct Zip {
        zip: Option<i32>,
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StateValue)]
    struct House {
        id: i64,
        at: Zip,
        floors: i32,
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StateValue)]
    struct Sure {
        zip: i32,
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StateValue)]
    struct SureHouse {
        id: i64,
        at: Sure,
        floors: i32,
    }
    let house = |id: i64, zip| House {
        id,
        at: Zip { zip },
        floors: 2,
    };
    let stream = env.from_collection([house(1, Some(5)), house(2, None)]);
    let table = tables.from_data_stream(&stream).unwrap();
    let houses = tables.to_data_stream::<SureHouse>(&table).unwrap();
    let error = houses.execute_and_collect("houses").unwrap_err().to_string();
    for part in ["row 2", "column 'at' holds +I[null]", "SureHouse"] {
        assert!(error.contains(part), "'{part}' is missing in: {error}");
    }
}

/// A stream that was given a name is a view to those who drop it, and its numbers read as Java writes them.
#[test]
fn a_stream_with_a_name_is_dropped_as_a_view() {
    let env = env();
    let tables = StreamTableEnvironment::create(&env).unwrap();
    for kind in ["VIEW", "TABLE"] {
        let numbers = env.from_collection([(1e16, 0.000_01f32), (0.5, 1e7)]);
        tables.create_temporary_view("numbers", &numbers).unwrap();
        let rows = tables.from("numbers").unwrap().execute().unwrap().collect();
        assert_eq!(format!("{rows:?}"), "[+I[1.0E16, 1.0E-5], +I[0.5, 1.0E7]]");
        tables.execute_sql(&format!("DROP TEMPORARY {kind} numbers")).unwrap();
        assert!(tables.from("numbers").is_err());
    }
}
