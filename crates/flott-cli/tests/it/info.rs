//! `flott info`: what scripts demand of a cluster.

use crate::support::flott;

const TWO_VERTICES: &str = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1');
    CREATE TABLE sums (n BIGINT, c BIGINT) WITH ('connector' = 'print');
    SET 'pipeline.name' = 'sums';
    INSERT INTO sums SELECT n, COUNT(*) FROM numbers GROUP BY n;";

#[test]
fn ten_subtasks_need_five_slots_and_as_much_as_five_task_managers_have() {
    let memory = "taskmanager.memory.process.size=2g";
    let json = flott(&["info", "-e", TWO_VERTICES, "-p", "5", "--json", "-D", memory]).expect(0);
    for part in [
        "\"cpuCores\":5.0,",
        "\"memoryBytes\":10737418240,",
        "\"memoryBytesPerTaskManager\":2147483648,",
        "\"name\":\"sums\",",
        "\"slots\":5,",
        "\"slotsBySharingGroup\":{\"default\":5},",
        "\"subtasks\":10,",
        "\"taskManagers\":5,",
        "\"name\":\"Source: numbers",
    ] {
        assert!(json.out.contains(part), "{part} is missing in {}", json.out);
    }
    let slots = "taskmanager.numberOfTaskSlots=2";
    let text = flott(&["info", "-e", TWO_VERTICES, "-p", "5", "-D", slots]).expect(0);
    assert!(
        text.out.contains("10 subtasks in 5 slots: 5 of default")
            && text.out.contains("taskmanager.memory.process.size"),
        "{}",
        text.out
    );
    let managers = text.out.lines().find(|line| line.starts_with("TaskManagers ")).unwrap();
    assert!(managers.ends_with(" 3"), "{}", text.out);
}

#[test]
fn jobs_that_run_at_once_add_up() {
    let insert = "INSERT INTO sums SELECT n, COUNT(*) FROM numbers GROUP BY n;";
    let at_once = format!("{TWO_VERTICES} {insert}");
    let json = flott(&["info", "-e", &at_once, "-p", "2", "--json"]).expect(0);
    assert!(
        json.out.contains("\"slots\":4,\"slotsPerTaskManager\":1"),
        "{}",
        json.out
    );
    let json = flott(&["info", "-e", &at_once, "-p", "2", "--json", "-D", "table.dml-sync=true"]).expect(0);
    assert!(
        json.out.contains("\"slots\":2,\"slotsPerTaskManager\":1"),
        "{}",
        json.out
    );
}

#[test]
fn nothing_runs_and_mistakes_are_told() {
    let nothing = flott(&["info", "-e", "SHOW TABLES;"]).expect(0);
    assert!(nothing.err.contains("needs no slots"), "{}", nothing.err);
    let wrong = flott(&["info", "-e", TWO_VERTICES, "-D", "taskmanager.numberOfTaskSlots=none"]).expect(1);
    assert!(wrong.err.contains("taskmanager.numberOfTaskSlots"), "{}", wrong.err);
}
