//! Results as they come: gathered by window, held against the [`Ledger`], and shown once their window is whole.

use super::generator::WEBSITES;
use super::ledger::{Ledger, Window};
use super::reader::Row;
use crate::progress::thousands;
use chrono::NaiveDateTime;
use std::collections::BTreeMap;
use std::time::Duration;

const TIME_FORMAT: &str = "%Y-%m-%d %H:%M:%S";
/// Websites shown of each window.
const SHOWN: usize = 3;
/// Problems that are spelled out; the others are counted.
const SPELLED: usize = 5;

/// The results of one window so far.
#[derive(Debug, Default)]
struct Results {
    sums: BTreeMap<usize, i64>,
    is_shown: bool,
}

/// Gathers, checks and words the results.
#[derive(Debug, Default)]
pub struct Board {
    windows: BTreeMap<i64, Results>,
    rows: u64,
    problems: Vec<String>,
    /// From a window's close to a row of it, in milliseconds.
    latencies_ms: Vec<u32>,
    taken: usize,
}

impl Board {
    /// Takes a result.
    pub fn add(&mut self, row: &Row, ledger: &Ledger) {
        self.rows += 1;
        let start = NaiveDateTime::parse_from_str(&row.window, TIME_FORMAT)
            .ok()
            .map(|t| t.and_utc().timestamp_millis());
        let website = WEBSITES.iter().position(|w| *w == row.website);
        let (Some(start_ms), Some(website)) = (start, website) else {
            self.problems.push(format!("a row that nobody expects: {row:?}"));
            return;
        };
        let window = ledger.window(start_ms);
        if let Some(closed_at) = window.and_then(|w| w.closed_at) {
            let latency = row.read_at.saturating_duration_since(closed_at);
            self.latencies_ms
                .push(u32::try_from(latency.as_millis()).unwrap_or(u32::MAX));
        }
        if let Some(before) = self
            .windows
            .entry(start_ms)
            .or_default()
            .sums
            .insert(website, row.traffic)
        {
            self.problems.push(format!(
                "{} {}: two rows, {before} and {}",
                row.window, row.website, row.traffic
            ));
        }
    }

    /// The lines of windows that have become whole, in order.
    pub fn take_whole(&mut self, ledger: &Ledger) -> Vec<String> {
        let mut lines = vec![];
        for (start_ms, results) in self.windows.iter_mut().filter(|(_, r)| !r.is_shown) {
            if ledger.window(*start_ms).is_some_and(|w| is_whole(results, &w)) {
                results.is_shown = true;
                lines.push(line_of(*start_ms, results));
            }
        }
        lines
    }

    /// Whether every closed window is whole.
    pub fn is_complete(&self, ledger: &Ledger) -> bool {
        ledger
            .closed()
            .iter()
            .all(|start| self.windows.get(start).is_some_and(|r| r.is_shown))
    }

    /// What is wrong with the results of all closed windows; `Ok`: nothing, in so many windows and rows.
    pub fn verdict(&self, ledger: &Ledger) -> Result<(usize, u64), String> {
        let mut problems = self.problems.clone();
        let closed = ledger.closed();
        let empty = Results::default();
        for start_ms in &closed {
            let (Some(window), results) = (ledger.window(*start_ms), self.windows.get(start_ms).unwrap_or(&empty))
            else {
                continue;
            };
            if !is_whole(results, &window) {
                let wanted = window.cells.iter().filter(|c| c.in_time.is_some()).count();
                problems.push(format!(
                    "{}: {} rows instead of {wanted}",
                    text_of(*start_ms),
                    results.sums.len()
                ));
            }
            for (website, sum) in &results.sums {
                let cell = window.cells[*website];
                if !cell.allows(*sum) {
                    let wanted = cell.in_time.unwrap_or(0);
                    let more = if cell.late > 0 {
                        format!(" and up to {} of late lines", cell.late)
                    } else {
                        String::new()
                    };
                    problems.push(format!(
                        "{} {}: {sum} instead of {wanted}{more}",
                        text_of(*start_ms),
                        WEBSITES[*website]
                    ));
                }
            }
        }
        if problems.is_empty() {
            return Ok((closed.len(), self.rows));
        }
        let count = problems.len();
        problems.truncate(SPELLED);
        Err(format!("{count} result(s) are wrong: {}", problems.join("; ")))
    }

    /// Number of windows shown.
    pub fn windows(&self) -> usize {
        self.windows.values().filter(|r| r.is_shown).count()
    }

    /// Number of rows read.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Median and 99th percentile of all rows' latencies.
    pub fn latency(&self) -> Option<(Duration, Duration)> {
        percentiles(&self.latencies_ms)
    }

    /// The same of the rows since the last call.
    pub fn take_latency(&mut self) -> Option<(Duration, Duration)> {
        let since = percentiles(&self.latencies_ms[self.taken..]);
        self.taken = self.latencies_ms.len();
        since
    }
}

fn is_whole(results: &Results, window: &Window) -> bool {
    let mut in_time = window.cells.iter().enumerate().filter(|(_, c)| c.in_time.is_some());
    window.closed_at.is_some() && in_time.all(|(website, _)| results.sums.contains_key(&website))
}

fn text_of(start_ms: i64) -> String {
    let start = chrono::DateTime::from_timestamp_millis(start_ms);
    start.map_or_else(|| start_ms.to_string(), |t| t.format("%Y-%m-%d %H:%M").to_string())
}

fn line_of(start_ms: i64, results: &Results) -> String {
    let mut sums: Vec<(usize, i64)> = results.sums.iter().map(|(w, s)| (*w, *s)).collect();
    sums.sort_by_key(|(website, sum)| (-*sum, *website));
    let mut line = text_of(start_ms);
    for (website, sum) in sums.iter().take(SHOWN) {
        line += &format!("  {:<15} {:>8}", WEBSITES[*website], thousands((*sum).max(0) as u64));
    }
    if sums.len() > SHOWN {
        line += &format!("  … {} more", sums.len() - SHOWN);
    }
    line
}

fn percentiles(latencies_ms: &[u32]) -> Option<(Duration, Duration)> {
    let mut sorted = latencies_ms.to_vec();
    sorted.sort_unstable();
    let at = |part: f64| {
        let rank = ((sorted.len() as f64 * part).ceil() as usize).clamp(1, sorted.len());
        Duration::from_millis(sorted[rank - 1].into())
    };
    (!sorted.is_empty()).then(|| (at(0.5), at(0.99)))
}

#[cfg(test)]
mod tests {
    use super::super::ledger::{Booking, Entry};
    use super::*;
    use std::time::Instant;

    fn ledger() -> Ledger {
        let ledger = Ledger::default();
        let entry = |website, traffic| Entry {
            timestamp_ms: 5,
            website,
            traffic,
            is_late: false,
        };
        let booking = Booking {
            lines: vec![entry(0, 1_500), entry(1, 7), entry(0, 500)],
            malformed: 0,
        };
        ledger.book(&booking, 60_000, Instant::now());
        ledger
    }

    fn row(website: usize, traffic: i64) -> Row {
        Row {
            website: WEBSITES[website].to_owned(),
            window: "1970-01-01 00:00:00".to_owned(),
            traffic,
            read_at: Instant::now(),
        }
    }

    #[test]
    fn a_window_is_shown_once_all_its_rows_are_there() {
        let (ledger, mut board) = (ledger(), Board::default());
        board.add(&row(0, 2_000), &ledger);
        assert!(board.take_whole(&ledger).is_empty());
        assert!(board.verdict(&ledger).unwrap_err().contains("1 rows instead of 2"));
        board.add(&row(1, 7), &ledger);
        assert_eq!(
            board.take_whole(&ledger),
            ["1970-01-01 00:00  news.example       2,000  search.example         7"]
        );
        assert!(board.is_complete(&ledger));
        assert_eq!(board.verdict(&ledger), Ok((1, 2)));
    }

    #[test]
    fn wrong_sums_and_doubled_and_strange_rows_are_found() {
        for (rows, says) in [
            (vec![row(0, 1_999), row(1, 7)], "1999 instead of 2000"),
            (vec![row(0, 2_000), row(1, 7), row(1, 7)], "two rows"),
            (vec![row(0, 2_000), row(1, 7), row(2, 1)], "1 instead of 0"),
            (vec![row(0, 2_000)], "1 rows instead of 2"),
        ] {
            let (ledger, mut board) = (ledger(), Board::default());
            rows.iter().for_each(|r| board.add(r, &ledger));
            board.take_whole(&ledger);
            let verdict = board.verdict(&ledger).unwrap_err();
            assert!(verdict.contains(says), "{verdict}");
        }
    }
}
