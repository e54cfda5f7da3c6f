//! Named places at which a test can stop the process or bend the protocol.
//!
//! `FLOTT_FAILPOINTS` holds `name=action` pairs separated by `;`, where an action is `kill` (the process ends at once,
//! as by `kill -9`), `hang` (the thread goes no further), `skip` (the step is left out), `twice` (the step is done twice) or `early` (the step is done before its
//! time), with an optional count of
//! passes before it acts: `after-manifest=kill@3` acts at the fourth pass. Each act is told on standard error (the first
//! hundred), so that a test knows that what it asked for has happened. Without the variable a check is one load
//! of a static. The names are listed in the protocol's own places, e.g. `flott-cluster`'s checkpoint coordinator.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a test asked for at a fail point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Leave the step out.
    Skip,
    /// Do the step twice.
    Twice,
    /// Do the step before its time.
    Early,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setting {
    Kill,
    Hang,
    Act(Action),
}

#[derive(Debug)]
struct Point {
    setting: Setting,
    passes_left: AtomicU64,
    acts: AtomicU64,
}

/// Acts of a point that are told.
const TOLD_ACTS: u64 = 100;

static POINTS: OnceLock<HashMap<String, Point>> = OnceLock::new();

/// Passes the fail point `name`: ends the process where a test says so, or gives the action to take.
pub fn hit(name: &str) -> Option<Action> {
    let points = POINTS.get_or_init(|| parse(&std::env::var("FLOTT_FAILPOINTS").unwrap_or_default()));
    let point = points.get(name)?;
    let acts = point
        .passes_left
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
        .is_err();
    if !acts {
        return None;
    }
    match point.setting {
        Setting::Kill => {
            eprintln!("fail point {name}: the process ends here");
            std::process::abort();
        }
        Setting::Hang => {
            eprintln!("fail point {name}: the thread hangs here");
            loop {
                std::thread::park();
            }
        }
        Setting::Act(action) => {
            if point.acts.fetch_add(1, Ordering::Relaxed) < TOLD_ACTS {
                eprintln!("fail point {name} acts: {action:?}");
            }
            Some(action)
        }
    }
}

fn parse(text: &str) -> HashMap<String, Point> {
    let mut points = HashMap::new();
    for pair in text.split(';').filter(|p| !p.trim().is_empty()) {
        let Some((name, action)) = pair.split_once('=') else {
            continue;
        };
        let (action, passes) = action.split_once('@').unwrap_or((action, "0"));
        let setting = match action.trim() {
            "kill" => Setting::Kill,
            "hang" => Setting::Hang,
            "skip" => Setting::Act(Action::Skip),
            "twice" => Setting::Act(Action::Twice),
            "early" => Setting::Act(Action::Early),
            _ => continue,
        };
        let passes_left = AtomicU64::new(passes.trim().parse().unwrap_or(0));
        let point = Point {
            setting,
            passes_left,
            acts: AtomicU64::new(0),
        };
        points.insert(name.trim().to_owned(), point);
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_actions_and_counts() {
        let points = parse("a=skip; b=kill@2;junk;c=dance");
        assert_eq!(points["a"].setting, Setting::Act(Action::Skip));
        assert_eq!(points["b"].passes_left.load(Ordering::SeqCst), 2);
        assert_eq!(points.len(), 2);
    }
}
