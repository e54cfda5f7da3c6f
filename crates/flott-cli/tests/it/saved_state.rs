//! Keyed state of savepoints, read without the job: `flott state show`, and as tables of SQL.

use crate::support::{flott, start, wait_for};
use flott::prelude::*;
use flott_testing::MiniCluster;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Visits that reach state.
const VISITS: i64 = 20;

#[derive(Debug, Clone, PartialEq, StateValue)]
struct Page {
    name: String,
    number: i32,
}

/// Keeps all kinds of state of a user.
#[derive(Clone, Default)]
struct Visits {
    count: ValueState<i64>,
    last: ValueState<Page>,
    pages: ListState<String>,
    by_part: MapState<i32, i64>,
    seen: Arc<AtomicUsize>,
}

impl KeyedProcessFunction<String, (String, i64)> for Visits {
    type Out = i64;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        let day = StateTtlConfig::new(Duration::from_secs(86_400));
        self.count = ctx.value_state(StateDescriptor::new("count").enable_time_to_live(day))?;
        self.last = ctx.value_state("last")?;
        self.pages = ctx.list_state("pages")?;
        self.by_part = ctx.map_state(StateDescriptor::new("by-part").enable_time_to_live(day))?;
        Ok(())
    }

    fn process_element(
        &mut self,
        (_, n): (String, i64),
        ctx: &mut ProcessContext<'_, String, i64>,
    ) -> Result<(), BoxError> {
        if n >= VISITS {
            return Ok(());
        }
        let count = self.count.value(ctx).copied().unwrap_or(0);
        self.count.update(ctx, count + 1);
        let name = format!("page{n}");
        if n % 4 != 3 {
            self.last.update(
                ctx,
                Page {
                    name: name.clone(),
                    number: n as i32,
                },
            );
        }
        self.pages.add(ctx, name);
        self.by_part
            .modify(ctx, (n % 2) as i32, |sum| Some(sum.unwrap_or(0) + n));
        ctx.register_event_time_timer(i64::from(u32::MAX));
        self.seen.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// A savepoint behind the first visits of the users `user0` to `user3`.
fn savepoint_of_a_program(cluster: &MiniCluster) -> String {
    let env = cluster.environment();
    env.set_parallelism(2).enable_checkpointing(Duration::from_millis(20));
    let visits = Visits::default();
    let seen = visits.seen.clone();
    env.from_generator(u64::MAX, |n| (format!("user{}", n % 4), n as i64))
        .key_by(|visit| visit.0.clone())
        .process(visits)
        .uid("visits")
        .for_each(|_| {});
    let mut job = cluster.start(&env, "visits").unwrap();
    job.wait_until("all visits", |_| seen.load(Ordering::SeqCst) == VISITS as usize)
        .unwrap();
    job.stop_with_savepoint().unwrap()
}

fn rows(sql: &str) -> Vec<String> {
    flott(&["run", "-p", "2", "-D", "table.local-time-zone=UTC", "-e", sql])
        .expect(0)
        .sorted_rows()
}

#[test]
fn state_of_a_program_is_shown_and_queried() {
    let cluster = MiniCluster::with_slots(2).unwrap();
    let path = savepoint_of_a_program(&cluster);

    let shown = flott(&["state", "show", &path]).expect(0).out;
    let line = |start: &str| {
        let found = shown.lines().find(|l| l.trim_start().starts_with(start));
        found.unwrap_or_else(|| panic!("{start}: {shown}")).trim().to_owned()
    };
    let user = line("\"user1\"");
    assert!(
        user.starts_with(
            "\"user1\": count 5, last {\"name\":\"page17\",\"number\":17}, \
             pages [\"page1\",\"page5\",\"page9\",\"page13\",\"page17\"], by-part {\"1\":{\"updated\":\"20"
        ) && user.contains("\"value\":45}} (updated count \"20"),
        "{user}"
    );
    assert!(line("\"user3\"").contains("last null"), "{shown}");
    assert!(
        shown.contains("(\"user2\", \"1970-02-19 17:02:47.295Z\")"),
        "a timer: {shown}"
    );

    let limited = flott(&["state", "show", &path, "--limit", "1"]).expect(0).out;
    assert_eq!(limited.matches("there are more").count(), 2, "{limited}");
    let one = flott(&["state", "show", &path, "--key", "user2", "--json"])
        .expect(0)
        .out;
    let one: serde_json::Value = serde_json::from_str(&one).unwrap();
    let operators = one["operators"].as_array().unwrap();
    let operator = operators.iter().find(|o| o["uid"] == "visits").unwrap();
    let states = operator["states"].as_array().unwrap();
    let values = states.iter().find(|s| s["name"] == "values").unwrap();
    let samples = values["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 1, "{values}");
    assert_eq!(samples[0]["key"], serde_json::json!(["user2"]));
    assert_eq!(samples[0]["values"]["count"], 5);
    let timers = states.iter().find(|s| s["name"] == "event-time-timers").unwrap();
    assert_eq!(timers["samples"].as_array().unwrap().len(), 1, "{timers}");
    let nobody = flott(&["state", "show", &path, "--key", "nobody"]).expect(1);
    assert!(nobody.err.contains("has the key nobody"), "{}", nobody.err);

    let table = format!(
        "CREATE TABLE visits (
           name STRING, `count` BIGINT, last ROW<number BIGINT>, pages ARRAY<STRING>, parts MAP<INT, BIGINT>, texts STRING,
           grp INT METADATA FROM 'key-group' VIRTUAL, PRIMARY KEY (name) NOT ENFORCED
         ) WITH ('connector' = 'savepoint', 'state.path' = '{path}', 'operator.uid' = 'visits',
           'fields.parts.state-name' = 'by-part', 'fields.parts.state-type' = 'map', 'fields.texts.state-name' = 'pages');
         CREATE TABLE out1 (name STRING, `count` BIGINT, number BIGINT, pages INT, part BIGINT, texts STRING) WITH ('connector' = 'print');
         CREATE TABLE out2 (users BIGINT, total BIGINT) WITH ('connector' = 'print');
         CREATE TABLE out3 (name STRING, page STRING) WITH ('connector' = 'print');"
    );
    let all = rows(&format!(
        "{table} INSERT INTO out1 SELECT name, `count`, last.number, CARDINALITY(pages), parts[1], texts FROM visits WHERE grp >= 0"
    ));
    assert_eq!(
        all,
        [
            "+I[user0, 5, 16, 5, null, [page0, page4, page8, page12, page16]]",
            "+I[user1, 5, 17, 5, 45, [page1, page5, page9, page13, page17]]",
            "+I[user2, 5, 18, 5, null, [page2, page6, page10, page14, page18]]",
            "+I[user3, 5, null, 5, 55, [page3, page7, page11, page15, page19]]",
        ]
    );
    let sums = rows(&format!(
        "{table} INSERT INTO out2 SELECT COUNT(*), SUM(`count`) FROM visits"
    ));
    assert!(sums.contains(&"+U[4, 20]".to_owned()), "{sums:?}");
    let pages = rows(&format!(
        "{table} INSERT INTO out3 SELECT name, page FROM visits CROSS JOIN UNNEST(pages) AS p(page) WHERE name = 'user0'"
    ));
    assert_eq!(pages.len(), 5, "{pages:?}");

    let metadata = rows(&format!(
        "LOAD MODULE state;
         CREATE TABLE out4 (uid STRING, parallelism INT, hash STRING) WITH ('connector' = 'print');
         INSERT INTO out4 SELECT `operator-uid`, `operator-parallelism`, CAST(CHAR_LENGTH(`operator-uid-hash`) AS STRING)
         FROM savepoint_metadata('{path}') WHERE `operator-total-size-in-bytes` > 0 AND `operator-uid` IS NOT NULL"
    ));
    assert_eq!(metadata, ["+I[visits, 2, 32]"]);

    let wrong = table.replace("`count` BIGINT, last", "`count` INT, last");
    let wrong = format!("{wrong} INSERT INTO out1 SELECT name, `count`, 1, 1, 1, '' FROM visits");
    let wrong = flott(&["run", "-e", &wrong]).expect(1);
    assert!(
        wrong.err.contains(
            "column 'count' is declared as INT, but the state 'count' holds BIGINT NOT NULL; declare it as BIGINT"
        ),
        "{}",
        wrong.err
    );
}

#[test]
fn state_of_a_query_is_shown_and_queried() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().to_str().unwrap();
    let input = format!("{dir}/in.csv");
    std::fs::write(&input, "a,1\na,2\nb,40\n").unwrap();
    let job = format!(
        "CREATE TABLE sales (shop STRING, amount INT) WITH ('connector' = 'filesystem', 'path' = '{input}', 'format' = 'csv',
           'source.monitor-interval' = '1 s');
         CREATE TABLE sums (shop STRING, n BIGINT, total INT) WITH ('connector' = 'print');
         INSERT INTO sums SELECT shop, COUNT(*), SUM(amount) FROM sales GROUP BY shop"
    );
    let mut running = start(&["run", "-p", "1", "--savepoint-on-stop", dir, "-e", &job]);
    wait_for(|| {
        running.out().matches("[b, 1, 40]").count() > 0 && running.out().contains("[a, 2, 3]") || !running.is_running()
    });
    running.terminate();
    let ended = running.ended().expect(0);
    let path = ended
        .err
        .lines()
        .find_map(|l| l.strip_prefix("savepoint: "))
        .unwrap()
        .to_owned();

    let shown = flott(&["state", "show", &path, "--key", "a"]).expect(0).out;
    assert!(
        shown.contains("\"a\": count1$0 2") || shown.lines().any(|l| l.trim_start().starts_with("\"a\": ")),
        "{shown}"
    );
    assert!(!shown.lines().any(|l| l.trim_start().starts_with("\"b\": ")), "{shown}");

    let json = flott(&["state", "show", &path, "--json"]).expect(0).out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let operators = json["operators"].as_array().unwrap();
    let keyed = |o: &&serde_json::Value| o["states"].as_array().unwrap().iter().any(|s| s.get("key").is_some());
    let operator = operators.iter().find(keyed).unwrap();
    let state = operator["states"]
        .as_array()
        .unwrap()
        .iter()
        .find(|s| s.get("key").is_some())
        .unwrap();
    let columns: Vec<&str> = state["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    let named = |part: &str| {
        columns
            .iter()
            .find(|c| c.starts_with(part))
            .unwrap_or_else(|| panic!("{columns:?}"))
    };
    let hash = operator["uid-hash"].as_str().unwrap();
    let queried = rows(&format!(
        "CREATE TABLE saved (shop STRING, n BIGINT, total INT, PRIMARY KEY (shop) NOT ENFORCED) WITH (
           'connector' = 'savepoint', 'state.path' = '{path}', 'operator.uid.hash' = '{hash}',
           'fields.n.state-name' = '{}', 'fields.total.state-name' = '{}');
         CREATE TABLE out1 (shop STRING, n BIGINT, total INT) WITH ('connector' = 'print');
         INSERT INTO out1 SELECT * FROM saved",
        named("count"),
        named("sum"),
    ));
    assert_eq!(queried, ["+I[a, 2, 3]", "+I[b, 1, 40]"]);
}
