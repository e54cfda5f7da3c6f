//! Command one.

use crate::support::{flott, start};
use std::time::Duration;

#[test]
fn the_demo_shows_windows_and_checks_its_sums() {
    let ended = flott(&["demo", "--for", "4s", "--rate", "5000"]).expect(0);
    assert!(ended.out.contains("all sums right"), "{}", ended.out);
    let windows = ended
        .out
        .lines()
        .filter(|l| l.contains("… ") && l.contains(".example"))
        .count();
    assert!((2..=4).contains(&windows), "{}", ended.out);
    assert!(
        ended.out.contains("events generated") && ended.out.contains("peak memory"),
        "{}",
        ended.out
    );
}

#[test]
fn sigterm_stops_the_demo_with_its_summary() {
    let demo = start(&["demo", "--rate", "2000"]);
    std::thread::sleep(Duration::from_secs(4));
    demo.terminate();
    let ended = demo.ended().expect(0);
    assert!(ended.out.contains("events generated"), "{} {}", ended.out, ended.err);
}
