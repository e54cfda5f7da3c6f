//! Savepoints and checkpoints: taken on a stop, shown, listed, started from.

use crate::support::{Cluster, Running, flott, start, text, wait_for};

const TRAFFIC: &str = "examples/website-traffic";

fn job(cluster: &Cluster, more: &[&str]) -> Running {
    let variable = cluster.variable();
    let file = format!("{TRAFFIC}/job.sql");
    let mut args = vec!["run", &file, "--var", &variable, "-D", "table.local-time-zone=UTC"];
    args.extend(more);
    start(&args)
}

#[test]
fn a_savepoint_on_stop_is_shown_and_restored_at_another_parallelism() {
    let cluster = Cluster::start(&[("website-logs", 3), ("website-traffic-stats", 2)]);
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().to_str().unwrap();
    for partition in 0..3 {
        cluster.append("website-logs", partition, 1_000, "a.com,u1,2");
        cluster.append("website-logs", partition, 62_000, "a.com,u1,5");
    }
    let mut first = job(&cluster, &["-p", "2", "--savepoint-on-stop", dir]);
    wait_for(|| !cluster.values("website-traffic-stats").is_empty() || !first.is_running());
    first.terminate();
    let ended = first.ended().expect(0);
    assert_eq!(
        cluster.values("website-traffic-stats"),
        ["a.com,\"1970-01-01 00:00:00\",6"],
        "{}",
        ended.err
    );
    let path = ended
        .err
        .lines()
        .find_map(|l| l.strip_prefix("savepoint: "))
        .unwrap_or_else(|| panic!("{}", ended.err))
        .to_owned();

    let shown = flott(&["state", "show", &path]).expect(0);
    assert!(
        shown.out.contains("savepoint") && shown.out.contains("Website Traffic Stats"),
        "{}",
        shown.out
    );
    assert!(
        shown.out.contains("key groups") && shown.out.contains("Source: "),
        "{}",
        shown.out
    );
    let listed = flott(&["state", "ls", dir]).expect(0);
    assert!(
        listed.out.contains(path.trim_start_matches("file://")) && listed.out.contains("savepoint"),
        "{}",
        listed.out
    );

    for partition in 0..3 {
        cluster.append("website-logs", partition, 122_000, "a.com,u1,7");
    }
    let checked = |script: &str, more: &[&str]| {
        let variable = cluster.variable();
        flott(&[&["state", "check", &path, script, "--var", &variable], more].concat())
    };
    let script = format!("{TRAFFIC}/job.sql");
    let fits = checked(&script, &["-p", "3"]).expect(0);
    assert!(
        fits.out.contains("restored: 3 rows") && fits.out.contains("can start"),
        "{}",
        fits.out
    );
    let fewer_groups = checked(&script, &["-D", "pipeline.max-parallelism=64"]).expect(1);
    assert!(
        fewer_groups.out.contains("has 128 key groups") && fewer_groups.err.contains("cannot start"),
        "{}{}",
        fewer_groups.out,
        fewer_groups.err
    );
    let changed = text(&script)
        .replace("SUM(traffic)", "MAX(`user`)")
        .replace("traffic BIGINT\n) WITH", "traffic STRING\n) WITH");
    let changed_file = format!("{dir}/changed.sql");
    std::fs::write(&changed_file, changed).unwrap();
    let allowed = checked(&changed_file, &["-p", "2", "--allow-dropped-columns"]).expect(0);
    assert!(allowed.out.contains("but loses some of it"), "{}", allowed.out);
    let changed = checked(&changed_file, &["-p", "2"]).expect(1);
    assert!(
        changed.out.contains("'sum$0' of 'window-aggs' is dropped")
            && changed.out.contains("'max$0' of 'window-aggs' is new and starts empty"),
        "{}",
        changed.out
    );

    let mut second = job(&cluster, &["-p", "3", "--restore", &path, "--savepoint-on-stop", dir]);
    wait_for(|| cluster.values("website-traffic-stats").len() >= 2 || !second.is_running());
    second.terminate();
    let ended = second.ended().expect(0);
    assert!(ended.err.contains("starts from"), "{}", ended.err);
    let later = ended.err.lines().find_map(|l| l.strip_prefix("savepoint: ")).unwrap();
    let differs = flott(&["state", "diff", &path, later]).expect(0);
    assert!(
        differs.out.contains("parallelism 2 -> 3 (+1)") && differs.out.contains("bytes of all state"),
        "{}",
        differs.out
    );
    let want = ["a.com,\"1970-01-01 00:00:00\",6", "a.com,\"1970-01-01 00:01:00\",15"];
    assert_eq!(cluster.values("website-traffic-stats"), want, "{}", ended.err);
}

#[test]
fn what_is_no_state_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().to_str().unwrap();
    let shown = flott(&["state", "show", &format!("{dir}/chk-7")]).expect(1);
    assert!(shown.err.contains("chk-7"), "{}", shown.err);
    let listed = flott(&["state", "ls", dir]).expect(0);
    assert!(listed.out.contains("no checkpoint"), "{}", listed.out);
    let script = format!("{TRAFFIC}/job.sql");
    let restored = flott(&[
        "run",
        &script,
        "--var",
        "BOOTSTRAP=127.0.0.1:1",
        "--restore",
        &format!("{dir}/nothing"),
    ])
    .expect(1);
    assert!(restored.err.contains("nothing"), "{}", restored.err);
    assert!(!text(&script).is_empty());
}
