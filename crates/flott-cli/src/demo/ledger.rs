//! What the generator wrote, window by window: the truth that the job's results are held against.
//!
//! A website's sum in a closed window must be the sum of its lines that were in time, plus at most what came late. A
//! window is closed once the generator's time has passed its end by the watermark's delay, in every partition.

use super::generator::{WEBSITES, WINDOW_MS};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A well-formed line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Record time.
    pub timestamp_ms: i64,
    /// Index of the website.
    pub website: usize,
    /// What it adds to the website's sum.
    pub traffic: i64,
    /// Whether its window is long closed.
    pub is_late: bool,
}

/// What one tick adds.
#[derive(Debug, Clone, Default)]
pub struct Booking {
    /// Well-formed lines.
    pub lines: Vec<Entry>,
    /// Number of the others.
    pub malformed: u64,
}

/// A website in a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cell {
    /// Sum of lines in time; `None` without such a line.
    pub in_time: Option<i64>,
    /// Sum of late lines.
    pub late: i64,
}

impl Cell {
    /// Whether `sum` is a right result.
    pub fn allows(&self, sum: i64) -> bool {
        let least = self.in_time.unwrap_or(1);
        (least..=self.in_time.unwrap_or(0) + self.late).contains(&sum)
    }
}

/// A window.
#[derive(Debug, Clone)]
pub struct Window {
    /// By website.
    pub cells: Vec<Cell>,
    /// When it was closed.
    pub closed_at: Option<Instant>,
}

/// Counts over everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Written {
    /// All lines.
    pub lines: u64,
    /// Those that are malformed.
    pub malformed: u64,
    /// Those that are late.
    pub late: u64,
    /// Record time minus the watermark's delay.
    pub watermark_ms: i64,
}

#[derive(Debug, Default)]
struct Inner {
    windows: BTreeMap<i64, Window>,
    written: Written,
}

/// Shared by the generator and those who check.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Inner>);

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Books a tick, after which no line in time is older than `watermark_ms`.
    pub fn book(&self, booking: &Booking, watermark_ms: i64, at: Instant) {
        let mut inner = self.lock();
        inner.written.lines += booking.lines.len() as u64 + booking.malformed;
        inner.written.malformed += booking.malformed;
        inner.written.late += booking.lines.iter().filter(|l| l.is_late).count() as u64;
        inner.written.watermark_ms = watermark_ms;
        for line in &booking.lines {
            let start_ms = line.timestamp_ms.div_euclid(WINDOW_MS) * WINDOW_MS;
            let new = || Window {
                cells: vec![Cell::default(); WEBSITES.len()],
                closed_at: None,
            };
            let cell = &mut inner.windows.entry(start_ms).or_insert_with(new).cells[line.website];
            if line.is_late {
                cell.late += line.traffic;
            } else {
                *cell.in_time.get_or_insert(0) += line.traffic;
            }
        }
        for (_, window) in inner.windows.range_mut(..=watermark_ms - WINDOW_MS) {
            window.closed_at.get_or_insert(at);
        }
    }

    /// Counts so far.
    pub fn written(&self) -> Written {
        self.lock().written
    }

    /// A window, by its start.
    pub fn window(&self, start_ms: i64) -> Option<Window> {
        self.lock().windows.get(&start_ms).cloned()
    }

    /// Starts of the closed windows.
    pub fn closed(&self) -> Vec<i64> {
        self.lock()
            .windows
            .iter()
            .filter(|(_, w)| w.closed_at.is_some())
            .map(|(start, _)| *start)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_close_with_the_watermark_and_bound_their_sums() {
        let ledger = Ledger::default();
        let entry = |timestamp_ms, traffic, is_late| Entry {
            timestamp_ms,
            website: 3,
            traffic,
            is_late,
        };
        let booking = Booking {
            lines: vec![entry(0, 2, false), entry(59_999, 3, false), entry(60_000, 4, false)],
            malformed: 1,
        };
        ledger.book(&booking, 59_999, Instant::now());
        assert!(ledger.closed().is_empty());
        ledger.book(
            &Booking {
                lines: vec![entry(1, 9, true)],
                malformed: 0,
            },
            60_000,
            Instant::now(),
        );
        assert_eq!(ledger.closed(), [0]);
        let cell = ledger.window(0).unwrap().cells[3];
        assert_eq!(
            cell,
            Cell {
                in_time: Some(5),
                late: 9
            }
        );
        let allowed: Vec<i64> = (0..20).filter(|sum| cell.allows(*sum)).collect();
        assert_eq!(allowed, (5..=14).collect::<Vec<_>>());
        assert!(!Cell::default().allows(0));
        let written = ledger.written();
        assert_eq!((written.lines, written.malformed, written.late), (5, 1, 1));
    }
}
