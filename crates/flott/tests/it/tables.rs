//! Tables and streams in one program: both ways, with changes, event time and state, and what is refused.

use super::env;
use super::lives::{Life, life, run};
use flott::prelude::*;
use flott::table::{Bytes, Date, Decimal, Time, Timestamp, TimestampLtz, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StateValue)]
struct Place {
    city: String,
    zip: Option<i32>,
}

/// A field of each type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, StateValue)]
struct Everything {
    id: i64,
    small: i16,
    flag: bool,
    ratio: f64,
    name: String,
    nick: Option<String>,
    price: Decimal<10, 2>,
    day: Date,
    hour: Time,
    seen: Timestamp<6>,
    instant: TimestampLtz,
    raw: Bytes,
    tags: Vec<Option<String>>,
    counts: BTreeMap<String, i64>,
    place: Place,
    before: Vec<Place>,
}

fn everything(id: i64) -> Everything {
    let place = |city: &str, zip| Place {
        city: city.to_owned(),
        zip,
    };
    Everything {
        id,
        small: -(id as i16),
        flag: id % 2 == 0,
        ratio: id as f64 / 4.0,
        name: format!("n{id}"),
        nick: (id % 2 == 1).then(|| "nick".to_owned()),
        price: Decimal::from_unscaled(i128::from(id) * 101),
        day: Date::from_epoch_days(id as i32),
        hour: Time::from_millis_of_day(id as i32 * 1000),
        seen: Timestamp::from_epoch_millis(id * 60_000),
        instant: TimestampLtz::from_epoch_millis(id * 1500),
        raw: Bytes(vec![id as u8, 0]),
        tags: vec![Some("t".to_owned()), None],
        counts: BTreeMap::from([("a".to_owned(), id), ("b".to_owned(), -id)]),
        place: place("Bonn", Some(53_111)),
        before: vec![place("Ulm", None)],
    }
}

/// What SQL makes of it, by name, in another order and with wider integers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, StateValue)]
struct Short {
    city: String,
    small: i64,
    nick: Option<String>,
    b: Option<i64>,
}

#[test]
fn records_of_all_types_cross_both_ways() {
    let env = env();
    env.set_parallelism(2);
    let tables = StreamTableEnvironment::create(&env).unwrap();
    let stream = env.from_collection((1..=20).map(everything));
    tables.create_temporary_view("everything", &stream).unwrap();
    let table = tables.from("everything").unwrap();
    let types: Vec<String> = table
        .columns()
        .unwrap()
        .iter()
        .map(|c| format!("{} {}", c.name, c.ty))
        .collect();
    assert_eq!(
        types.join(", "),
        "id BIGINT NOT NULL, small SMALLINT NOT NULL, flag BOOLEAN NOT NULL, ratio DOUBLE NOT NULL, name STRING NOT NULL, nick STRING, \
         price DECIMAL(10, 2) NOT NULL, day DATE NOT NULL, hour TIME(0) NOT NULL, seen TIMESTAMP(6) NOT NULL, \
         instant TIMESTAMP_LTZ(3) NOT NULL, raw BYTES NOT NULL, tags ARRAY<STRING> NOT NULL, counts MAP<STRING NOT NULL, BIGINT NOT \
         NULL> NOT NULL, place ROW<`city` STRING NOT NULL, `zip` INT> NOT NULL, before ARRAY<ROW<`city` STRING NOT NULL, `zip` INT> \
         NOT NULL> NOT NULL"
    );
    let same = tables.to_data_stream::<Everything>(&table).unwrap();
    let mut same = same.execute_and_collect("same").unwrap();
    same.sort_by_key(|record| record.id);
    assert_eq!(same, (1..=20).map(everything).collect::<Vec<_>>());
    let short = tables
        .sql_query("SELECT e.place.city, nick, counts['b'] AS b, small, id FROM everything AS e WHERE nick IS NOT NULL AND id < 4")
        .unwrap();
    let shorts = tables.to_data_stream::<Short>(&short).unwrap();
    let short_of = |id: i64| Short {
        city: "Bonn".to_owned(),
        small: -id,
        nick: Some("nick".to_owned()),
        b: Some(-id),
    };
    assert_eq!(super::sorted(shorts), [short_of(3), short_of(1)]);
    // Rows know the names of their columns, and read as Flink shows them.
    let rows = tables
        .to_data_stream::<Row>(&table)
        .unwrap()
        .filter(|row| row.field("id") == Some(&Value::BigInt(2)));
    let row = rows.execute_and_collect("rows").unwrap().remove(0);
    assert_eq!(
        row.to_string(),
        "+I[2, -2, true, 0.5, n2, null, 2.02, 1970-01-03, 00:00:02, 1970-01-01T00:02, 1970-01-01T00:00:03Z, [2, 0], [t, null], \
         {a=2, b=-2}, +I[Bonn, 53111], [+I[Ulm, null]]]"
    );
    assert_eq!(row.field("instant").and_then(Value::as_epoch_millis), Some(3000));
    // Tuples and single values go by place, and Rows into columns of a schema.
    let pairs = tables
        .sql_query("SELECT name, id + 1 FROM everything WHERE id = 7")
        .unwrap();
    let pairs = tables.to_data_stream::<(String, i64)>(&pairs).unwrap();
    assert_eq!(pairs.execute_and_collect("pairs").unwrap(), [("n7".to_owned(), 8)]);
    let rows = env.from_collection([Row::of((1, "x", None::<f64>)), Row::of((2i64, "y", Some(0.5)))]);
    let schema = Schema::new()
        .column("n", "BIGINT")
        .column("s", "STRING")
        .column("d", "DOUBLE");
    let table = tables.from_data_stream_with(&rows, schema).unwrap();
    let result = tables
        .execute_sql(&format!("SELECT s, n, d FROM {table} WHERE n > 0"))
        .unwrap();
    assert_eq!(result.columns(), ["s", "n", "d"]);
    assert_eq!(format!("{:?}", result.collect()), "[+I[x, 1, null], +I[y, 2, 0.5]]");
}

fn change(kind: RowKind, name: &str, score: i32) -> Row {
    Row::of_kind(kind, (name, score))
}

#[test]
fn changes_cross_both_ways() {
    use RowKind::{Delete, Insert, UpdateAfter, UpdateBefore};
    let env = env();
    env.set_parallelism(2);
    let tables = StreamTableEnvironment::create(&env).unwrap();
    let changes = [
        change(Insert, "Alice", 12),
        change(Insert, "Bob", 5),
        change(UpdateBefore, "Alice", 12),
        change(UpdateAfter, "Alice", 100),
        change(Delete, "Bob", 5),
    ];
    let schema = || Schema::new().column("name", "STRING").column("score", "INT");
    let all = env.from_collection(changes.clone());
    let table = tables
        .from_changelog_stream_with(&all, schema(), ChangelogMode::All)
        .unwrap();
    let back = tables.to_changelog_stream::<Row>(&table).unwrap();
    let texts = |rows: Vec<Row>| rows.iter().map(Row::to_string).collect::<Vec<_>>();
    assert_eq!(
        texts(back.execute_and_collect("same").unwrap()),
        texts(changes.to_vec())
    );

    // Upserts: what they replace is found by the key.
    let upserts = env.from_collection(
        changes
            .iter()
            .filter(|c| c.kind() != UpdateBefore)
            .cloned()
            .collect::<Vec<_>>(),
    );
    let keyed = || {
        Schema::new()
            .column("name", "STRING")
            .column("score", "INT")
            .primary_key(["name"])
    };
    let table = tables
        .from_changelog_stream_with(&upserts, keyed(), ChangelogMode::Upsert)
        .unwrap();
    tables.create_temporary_view("scores", &table).unwrap();
    let total = tables.sql_query("SELECT SUM(score) AS total FROM scores").unwrap();
    let totals = tables.to_changelog_stream::<Change<(Option<i64>,)>>(&total).unwrap();
    let totals = totals.execute_and_collect("totals").unwrap();
    let last = totals.last().unwrap();
    assert!(last.row == (Some(100),) && !last.kind.is_retraction(), "{totals:?}");
    let back = tables
        .to_changelog_stream_with::<Row>(&table, keyed(), ChangelogMode::Upsert)
        .unwrap();
    let mut back = texts(back.execute_and_collect("upserts").unwrap());
    back.sort();
    assert!(!back.iter().any(|row| row.starts_with("-U")), "{back:?}");
    assert!(
        back.contains(&"+U[Alice, 100]".to_owned()) && back.contains(&"-D[Bob, 5]".to_owned()),
        "{back:?}"
    );

    // Typed changes into a table, a stream of its changes into another.
    let typed = [(Insert, 1i64), (Insert, 2), (Delete, 1)].map(|(kind, n)| Change { kind, row: (n,) });
    let typed = env.from_collection(typed);
    let table = tables.from_changelog_stream(&typed).unwrap();
    let counted = tables.sql_query(&format!("SELECT COUNT(*) FROM {table}")).unwrap();
    let counted = tables.to_changelog_stream::<Row>(&counted).unwrap();
    let counted = tables
        .from_changelog_stream_with(&counted, Schema::new().column("n", "BIGINT"), ChangelogMode::All)
        .unwrap();
    let rows = counted.execute().unwrap().collect();
    assert!(texts(rows).last().unwrap().ends_with("[1]"));
}

#[test]
fn event_time_crosses_both_ways() {
    let env = env();
    env.set_parallelism(1)
        .configure("pipeline.auto-watermark-interval", "0");
    let tables = StreamTableEnvironment::create(&env).unwrap();
    // The fourth comes behind the end of its minute.
    let clicks = [
        ("a", 1_000),
        ("a", 2_000),
        ("b", 61_500),
        ("a", 3_000),
        ("b", 62_000),
        ("a", 130_000),
    ];
    let clicks = env.from_collection(clicks.map(|(who, at)| (who.to_owned(), at)));
    let strategy = WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_secs(1))
        .with_timestamp_assigner(|click: &(String, i64), _| click.1);
    let timed = clicks.assign_timestamps_and_watermarks(&strategy);
    let of_stream = Schema::new()
        .column_by_metadata("rowtime", "TIMESTAMP_LTZ(3)")
        .watermark("rowtime", "SOURCE_WATERMARK()");
    let said = Schema::new()
        .column_by_expression("rowtime", "TO_TIMESTAMP_LTZ(f1, 3)")
        .watermark("rowtime", "rowtime - INTERVAL '1' SECOND");
    tables.create_temporary_view("of_stream", (&timed, of_stream)).unwrap();
    tables.create_temporary_view("said", (&clicks, said)).unwrap();
    for view in ["of_stream", "said"] {
        let counts = tables
            .sql_query(&format!(
                "SELECT f0 AS who, COUNT(*) AS n, window_time FROM TUMBLE(TABLE {view}, DESCRIPTOR(rowtime), INTERVAL '1' MINUTE)
                 GROUP BY f0, window_start, window_end, window_time"
            ))
            .unwrap();
        let counts = tables.to_data_stream::<Row>(&counts).unwrap();
        // Times and watermarks go on: windows of the stream are cut by the time attribute of the table.
        let ends = counts
            .map(|row| {
                let text = |place: usize| row.get(place).map(ToString::to_string).unwrap_or_default();
                (text(0), text(1))
            })
            .process(WithTime)
            .window_all(TumblingEventTimeWindows::of(Duration::from_secs(60)))
            .reduce(|a, b| format!("{a}, {b}"));
        let mut rows = ends.execute_and_collect("windows").unwrap();
        rows.sort();
        assert_eq!(rows, ["119999: b=2", "179999: a=1", "59999: a=2"], "{view}");
    }
}

#[derive(Clone)]
struct WithTime;

impl ProcessFunction<(String, String)> for WithTime {
    type Out = String;

    fn process_element(&mut self, (who, n): (String, String), ctx: &mut Context<'_, String>) -> Result<(), BoxError> {
        let time = ctx.timestamp().ok_or("it has a time")?;
        ctx.collect(format!("{time}: {who}={n}"));
        Ok(())
    }
}

/// Tells how often the count of a word was told, and the last change.
#[derive(Clone, Default)]
struct Told(ValueState<i64>);

impl KeyedProcessFunction<String, Row> for Told {
    type Out = String;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.0 = ctx.value_state("told")?;
        Ok(())
    }

    fn process_element(&mut self, row: Row, ctx: &mut ProcessContext<'_, String, String>) -> Result<(), BoxError> {
        let told = self.0.value(ctx).copied().unwrap_or(0) + 1;
        self.0.update(ctx, told);
        ctx.collect(format!("{row} {told}"));
        Ok(())
    }
}

/// A stream's records, counted by SQL, whose changes a keyed function counts: in one job, and one checkpoint.
fn mixed(env: &StreamExecutionEnvironment, lives: &super::lives::Lives) -> DataStream<String> {
    let tables = StreamTableEnvironment::create(env).unwrap();
    let words = (0..60i64).map(|n| (format!("w{}", n % 4), n));
    let strategy = WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|w: &(String, i64), _| w.1);
    let words = lives.source(env, 0, words, &strategy);
    tables.create_temporary_view("words", &words).unwrap();
    let counts = tables
        .sql_query("SELECT f0 AS word, COUNT(*) AS n, SUM(f1) AS total FROM words GROUP BY f0")
        .unwrap();
    let changes = tables.to_changelog_stream::<Row>(&counts).unwrap().uid("counts");
    let word = |row: &Row| row.field("word").and_then(Value::as_str).unwrap_or_default().to_owned();
    changes.key_by(word).process(Told::default())
}

/// State of SQL and of functions is in the same checkpoint, at whatever parallelism each life has.
#[test]
fn a_mixed_job_goes_on_where_it_was() {
    let once = |lives: &[Life]| {
        let mut rows = run(lives, mixed);
        rows.sort();
        rows
    };
    let straight = once(&[life(&[60], 1)]);
    assert_eq!(
        straight.len(),
        4 * 29,
        "the first count of a word is one change, the others two"
    );
    assert!(straight.contains(&"+U[w3, 15, 465] 29".to_owned()), "{straight:?}");
    assert_eq!(once(&[life(&[7], 1), life(&[30], 3), life(&[60], 2)]), straight);
}

/// A uid keeps the state of the query before it, whatever else is read; equal queries are planned once.
#[test]
fn a_job_is_one_plan_with_stable_ids() {
    let plan = |with_another: bool| {
        let env = env();
        env.set_parallelism(2);
        let tables = StreamTableEnvironment::create(&env).unwrap();
        tables
            .create_temporary_view("numbers", &env.from_sequence(1, 9))
            .unwrap();
        if with_another {
            let other = tables.sql_query("SELECT MAX(f0) FROM numbers").unwrap();
            tables.to_changelog_stream::<Row>(&other).unwrap().print();
        }
        let sums = tables
            .sql_query("SELECT f0 / 2 AS k, SUM(f0) AS s FROM numbers GROUP BY f0 / 2")
            .unwrap();
        let sums = tables.to_changelog_stream::<Row>(&sums).unwrap().uid("sums");
        sums.filter(|row| row.kind() == RowKind::Insert).print();
        env.program("ids").unwrap().plan
    };
    let (alone, beside) = (plan(false), plan(true));
    let ids = |plan: &flott_plan::Plan, with: &str| {
        let nodes = plan.nodes.iter().filter(|n| n.description.contains(with));
        nodes.map(|n| n.operator_id).collect::<Vec<_>>()
    };
    let scans = |plan: &flott_plan::Plan| {
        plan.nodes
            .iter()
            .filter(|n| n.name.starts_with("Stream to Table"))
            .count()
    };
    let sums = ids(&alone, "groupBy=[k]");
    assert!(!sums.is_empty());
    assert_eq!(sums, ids(&beside, "groupBy=[k]"));
    assert_eq!((scans(&alone), scans(&beside)), (1, 1));
}

/// Inserts of the catalog's tables and streams with sinks of their own run as one job.
#[cfg(feature = "connectors")]
#[test]
fn inserts_are_attached_to_the_programs_job() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let env = env();
    env.set_parallelism(1);
    let tables = StreamTableEnvironment::create(&env).unwrap();
    tables
        .create_temporary_view("numbers", &env.from_sequence(1, 4))
        .unwrap();
    let created = tables.execute_sql(&format!(
        "CREATE TABLE doubled (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'file://{path}', 'format' = 'csv')"
    ));
    created.unwrap();
    let doubled = tables.sql_query("SELECT f0 * 2 FROM numbers").unwrap();
    doubled.insert_into("doubled").unwrap().attach_as_data_stream();
    let odd = tables.sql_query("SELECT f0 FROM numbers WHERE f0 % 2 = 1").unwrap();
    let odd = tables.to_data_stream::<i64>(&odd).unwrap();
    assert_eq!(super::sorted(odd), [1, 3]);
    let mut lines: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.is_file())
        .flat_map(|path| {
            std::fs::read_to_string(path)
                .unwrap()
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    lines.sort();
    assert_eq!(lines, ["2", "4", "6", "8"], "one execute ran both parts");
    // What is executed by itself is no part of the next job, and reads the catalog's tables like any other.
    let back = tables.execute_sql("SELECT COUNT(*) FROM doubled").unwrap().collect();
    assert_eq!(back.last().unwrap().get(0), Some(&Value::BigInt(4)));
    tables.execute_sql("INSERT INTO doubled VALUES (10)").unwrap();
    assert_eq!(
        env.execute("empty").unwrap_err().to_string(),
        "no operators defined: a job needs at least one sink"
    );
    let timed =
        "CREATE TABLE timed (at TIMESTAMP(3), WATERMARK FOR at AS SOURCE_WATERMARK()) WITH ('connector' = 'datagen')";
    tables.execute_sql(timed).unwrap();
    let refused = tables.sql_query("SELECT * FROM timed").unwrap_err().to_string();
    assert!(
        refused.contains("'datagen' has none of its own") && refused.contains("INTERVAL '5' SECOND"),
        "{refused}"
    );
    let names = tables.execute_sql("SHOW TABLES").unwrap().collect();
    assert!(
        names
            .iter()
            .any(|row| row.get(0).and_then(Value::as_str) == Some("doubled")),
        "{names:?}"
    );
}

#[derive(Debug, Clone, Serialize, Deserialize, StateValue)]
struct Wrong {
    word: i64,
    n: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize, StateValue)]
struct Lost {
    wrod: String,
}

#[test]
fn what_does_not_fit_is_said_where_it_is_built() {
    let env = env();
    let tables = StreamTableEnvironment::create(&env).unwrap();
    let words = env.from_collection([("a".to_owned(), 1i64)]);
    let view = Schema::new().column("word", "STRING").column("n", "BIGINT");
    tables.create_temporary_view("words", (&words, view)).unwrap();
    let counts = tables
        .sql_query("SELECT word, COUNT(*) AS n FROM words GROUP BY word")
        .unwrap();
    let plain = tables.sql_query("SELECT word, n FROM words").unwrap();
    let said = |result: Result<(), TableError>| result.unwrap_err().to_string();
    let cases = [
        (
            said(tables.to_data_stream::<Row>(&counts).map(drop)),
            vec!["the table has updates", "to_changelog_stream"],
        ),
        (
            said(tables.to_data_stream::<Wrong>(&plain).map(drop)),
            vec![
                "column 'word' of the table is STRING",
                "field 'word' of the record BIGINT NOT NULL",
                "CAST(`word` AS BIGINT)",
            ],
        ),
        (
            said(tables.to_data_stream::<Lost>(&plain).map(drop)),
            vec!["'wrod'", "did you mean 'word'?", "word STRING, n BIGINT"],
        ),
        (
            said(tables.to_data_stream::<(String,)>(&plain).map(drop)),
            vec!["1 fields without names", "2 columns"],
        ),
        (
            said(
                tables
                    .from_data_stream_with(&words, Schema::new().column("f0", "INT"))
                    .map(drop),
            ),
            vec![
                "column 'f0'",
                "declared as INT",
                "is STRING NOT NULL",
                "column_by_expression",
            ],
        ),
        (
            said(
                tables
                    .from_data_stream_with(&words, Schema::new().column("f2", "INT"))
                    .map(drop),
            ),
            vec!["column 'f2'", "its fields are f0, f1"],
        ),
        (
            said(
                tables
                    .from_data_stream_with(&words, Schema::new().column_by_expression("x", "f0 + nothing"))
                    .map(drop),
            ),
            vec!["'nothing'", "`x` AS f0 + nothing"],
        ),
        (
            said(tables.from_data_stream(&env.from_collection([Row::of([1])])).map(drop)),
            vec!["a stream of Rows", "Schema::column"],
        ),
        (
            said(
                tables
                    .from_changelog_stream_with(
                        &env.from_collection([Row::of([1])]),
                        Schema::new().column("a", "INT"),
                        ChangelogMode::Upsert,
                    )
                    .map(drop),
            ),
            vec!["primary_key"],
        ),
        (
            said(
                tables
                    .to_changelog_stream_with::<Row>(&counts, Schema::new(), ChangelogMode::Upsert)
                    .map(drop),
            ),
            vec!["primary_key"],
        ),
        (
            said(tables.create_temporary_view("words", &words)),
            vec!["'words' exists already"],
        ),
        (
            said(tables.sql_query("SELECT wrd FROM words").map(drop)),
            vec!["line 1, column 8", "did you mean 'word'?"],
        ),
        (said(tables.sql_query("SHOW TABLES").map(drop)), vec!["one query"]),
        (
            said(tables.execute_sql("SELECT 1; SELECT 2").map(drop)),
            vec!["one statement", "2"],
        ),
        (
            said(
                tables
                    .execute_sql("CREATE TABLE t (a INT) WITH ('connector' = 'datastream')")
                    .and_then(|_| tables.execute_sql("SELECT * FROM t").map(drop)),
            ),
            vec!["create_temporary_view"],
        ),
        (
            said(tables.execute_sql("INSERT INTO words VALUES ('a', 1)").map(drop)),
            vec!["a stream of the program"],
        ),
    ];
    for (said, expected) in cases {
        for words in expected {
            assert!(said.contains(words), "'{words}' is missing in: {said}");
        }
    }

    // What only the job can know names the record and the column.
    let failed = |stream: DataStream<Row>, schema: Schema| {
        let table = tables.from_data_stream_with(&stream, schema).unwrap();
        table.execute().unwrap_err().to_string()
    };
    let number = || Schema::new().column("n", "INT NOT NULL");
    let text = failed(env.from_collection([Row::of([1]), Row::of(["x"])]), number());
    assert!(
        text.contains("record 2") && text.contains("column 'n' is INT NOT NULL") && text.contains("a STRING (x)"),
        "{text}"
    );
    let text = failed(
        env.from_collection([change(RowKind::Delete, "x", 1)]),
        Schema::new().column("s", "STRING").column("i", "INT"),
    );
    assert!(text.contains("takes no -D: use from_changelog_stream"), "{text}");
    let text = failed(
        env.from_collection([Row::of([1])]),
        number().column_by_metadata("rowtime", "TIMESTAMP_LTZ(3)"),
    );
    assert!(text.contains("assign_timestamps_and_watermarks"), "{text}");
    let alone = super::env();
    let tables = StreamTableEnvironment::create(&alone).unwrap();
    tables
        .create_temporary_view("numbers", &alone.from_sequence(1, 2))
        .unwrap();
    let nullable = tables.sql_query("SELECT NULLIF(f0, 2) AS n FROM numbers").unwrap();
    let nullable = tables.to_data_stream::<i64>(&nullable).unwrap();
    let text = nullable.execute_and_collect("null").unwrap_err().to_string();
    assert!(
        text.contains("column 'f0' of the query is NULL") && text.contains("make the field an Option"),
        "{text}"
    );
}
