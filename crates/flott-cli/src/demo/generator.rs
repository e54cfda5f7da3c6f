//! The demo's input: made-up traffic, written into the broker on a thread of its own, and booked in the [`Ledger`].
//!
//! Record time runs `speed` times faster than the clock. Each tick writes one batch into every partition, so the
//! partitions' watermarks advance together. Lines come out of order by less than the watermark's second, so they are
//! never late; a few are late by two windows, and may be dropped or not; some are malformed. The same seed gives the same lines.

use super::ledger::{Booking, Entry, Ledger};
use flott_broker::{AppendError, Broker, PlainRecord};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The topic that the job reads.
pub const TOPIC: &str = "website-logs";
/// Its partitions.
pub const PARTITIONS: i32 = 4;
/// Length of the job's windows.
pub const WINDOW_MS: i64 = 60_000;
/// How far the job's watermark stays behind the newest record.
pub const WATERMARK_DELAY_MS: i64 = 1_000;

/// Between two writes: short beside a second's window, long enough that batches are worth their overhead.
const TICK: Duration = Duration::from_millis(20);
/// Out-of-order lines are at most so much older than the newest before them.
const DISORDER_MS: u64 = 900;
/// Late lines are so much older: their window closed long ago.
const LATENESS_MS: i64 = 2 * WINDOW_MS;
/// Beyond so many unread lines the generator pauses, far below what the broker keeps.
const MAX_UNREAD: u64 = 1_000_000;

/// Websites, the most popular first.
pub const WEBSITES: [&str; 40] = [
    "news.example",
    "search.example",
    "video.example",
    "shop.example",
    "wiki.example",
    "mail.example",
    "maps.example",
    "music.example",
    "weather.example",
    "bank.example",
    "social.example",
    "photos.example",
    "travel.example",
    "recipes.example",
    "sports.example",
    "games.example",
    "books.example",
    "jobs.example",
    "code.example",
    "health.example",
    "movies.example",
    "radio.example",
    "cars.example",
    "homes.example",
    "garden.example",
    "fashion.example",
    "pets.example",
    "school.example",
    "city.example",
    "trains.example",
    "flights.example",
    "hotels.example",
    "forum.example",
    "chat.example",
    "art.example",
    "science.example",
    "space.example",
    "history.example",
    "chess.example",
    "quiz.example",
];

const MALFORMED: [&[u8]; 4] = [b"x,y", b"news.example,u1,many", b"a,b,c,d,e", b"shop.example"];

/// What to generate.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Lines a second.
    pub rate: u64,
    /// Record time over clock time.
    pub speed: f64,
    /// Start of the random numbers.
    pub seed: u64,
    /// Record time of the first line.
    pub start_ms: i64,
    /// How long, by the clock.
    pub duration: Duration,
}

/// Random numbers that need no more than a seed (SplitMix64).
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }
}

/// One generated line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    timestamp_ms: i64,
    /// Where its text lies in the tick's buffer.
    text: (usize, usize),
}

/// Makes the lines of ticks.
struct Lines {
    random: Random,
    /// Cumulated popularity: the n-th website has weight 1/n.
    popularity: Vec<u64>,
    start_ms: i64,
}

impl Lines {
    fn new(settings: &Settings) -> Self {
        let mut sum = 0;
        let weight = |n: usize| {
            sum += 1_000_000 / (n as u64 + 1);
            sum
        };
        Self {
            random: Random(settings.seed),
            popularity: (0..WEBSITES.len()).map(weight).collect(),
            start_ms: settings.start_ms,
        }
    }

    /// A line whose record time is near `now_ms`, or well-formed and exactly then where it must be `steady`.
    fn line(&mut self, now_ms: i64, steady: bool, buffer: &mut Vec<u8>, booking: &mut Booking) -> Line {
        let chance = if steady { 9_999 } else { self.random.below(10_000) };
        let begin = buffer.len();
        if chance < 10 {
            buffer.extend_from_slice(MALFORMED[chance as usize % MALFORMED.len()]);
            booking.malformed += 1;
            return Line {
                timestamp_ms: now_ms,
                text: (begin, buffer.len()),
            };
        }
        let is_late = chance == 10 && now_ms >= self.start_ms + LATENESS_MS + WINDOW_MS;
        let timestamp_ms = match chance {
            _ if is_late => now_ms - LATENESS_MS,
            0..2_000 => (now_ms - self.random.below(DISORDER_MS) as i64).max(self.start_ms),
            _ => now_ms,
        };
        let total = self.popularity.last().copied().unwrap_or(1);
        let pick = self.random.below(total);
        let website = self.popularity.partition_point(|w| *w <= pick);
        let (user, traffic) = (self.random.below(100_000), 1 + self.random.below(9) as i64);
        buffer.extend_from_slice(WEBSITES[website].as_bytes());
        buffer.extend_from_slice(b",u");
        write_number(buffer, user);
        buffer.push(b',');
        write_number(buffer, traffic as u64);
        booking.lines.push(Entry {
            timestamp_ms,
            website,
            traffic,
            is_late,
        });
        Line {
            timestamp_ms,
            text: (begin, buffer.len()),
        }
    }
}

fn write_number(out: &mut Vec<u8>, mut n: u64) {
    let begin = out.len();
    loop {
        out.push(b'0' + (n % 10) as u8);
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out[begin..].reverse();
}

/// Generates until the time is over or `stop` is set. `read` tells how many lines the job has read.
///
/// # Errors
/// If the broker refuses the lines.
pub fn generate(
    broker: &Broker,
    settings: Settings,
    ledger: &Ledger,
    stop: &AtomicBool,
    read: impl Fn() -> u64,
) -> Result<(), AppendError> {
    let began = Instant::now();
    let mut lines = Lines::new(&settings);
    let (mut buffer, mut tick_lines) = (vec![], vec![]);
    let (mut written, mut last_ms, mut owed) = (0_u64, settings.start_ms, 0.0);
    let mut last = began;
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(TICK);
        let now = Instant::now().min(began + settings.duration);
        let now_ms = settings.start_ms + ((now - began).as_secs_f64() * settings.speed * 1000.0) as i64;
        let is_over = now - began >= settings.duration;
        // After a stall of the machine the lines of the gap are not made up for.
        let due = ((now - last).as_secs_f64() * settings.rate as f64 + owed).min(settings.rate.max(20) as f64 / 5.0);
        last = now;
        let count = due as u64;
        let is_ahead = written.saturating_sub(read()) > MAX_UNREAD;
        if is_ahead || count < PARTITIONS as u64 {
            owed = if is_ahead { 0.0 } else { due };
            if is_over {
                break;
            }
            continue;
        }
        owed = due - count as f64;
        let mut booking = Booking::default();
        for partition in 0..PARTITIONS {
            buffer.clear();
            tick_lines.clear();
            // The last line of a partition's batch bears the tick's time: it is what closes windows.
            let share = count / PARTITIONS as u64;
            for i in 1..=share {
                let at_ms = last_ms + (now_ms - last_ms) * i as i64 / share as i64;
                tick_lines.push(lines.line(at_ms, i == share, &mut buffer, &mut booking));
            }
            let record = |line: &Line| PlainRecord {
                timestamp_ms: line.timestamp_ms,
                key: None,
                value: Some(&buffer[line.text.0..line.text.1]),
            };
            let records: Vec<PlainRecord<'_>> = tick_lines.iter().map(record).collect();
            broker.append_records(TOPIC, partition, &records)?;
            written += share;
        }
        last_ms = now_ms;
        ledger.book(&booking, now_ms - WATERMARK_DELAY_MS, Instant::now());
        if is_over {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generated(seed: u64, count: i64) -> (Vec<u8>, Booking) {
        let settings = Settings {
            rate: 1,
            speed: 1.0,
            seed,
            start_ms: 0,
            duration: Duration::ZERO,
        };
        let (mut lines, mut buffer, mut booking) = (Lines::new(&settings), vec![], Booking::default());
        for now_ms in 0..count {
            let line = lines.line(now_ms, now_ms % 100 == 99, &mut buffer, &mut booking);
            assert!(line.text.0 < line.text.1);
            assert!(now_ms % 100 != 99 || line.timestamp_ms == now_ms);
        }
        (buffer, booking)
    }

    #[test]
    fn lines_are_within_the_watermark_or_marked_late() {
        let (_, booking) = generated(7, 300_000);
        assert_eq!(booking.lines.len() as u64 + booking.malformed, 300_000);
        assert!((200..400).contains(&booking.malformed), "{}", booking.malformed);
        let late = booking.lines.iter().filter(|l| l.is_late).count();
        assert!((3..40).contains(&late), "{late}");
        let of = |website: usize| booking.lines.iter().filter(|l| l.website == website).count();
        assert!(of(0) > 5 * of(20) && of(39) > 0, "{} {} {}", of(0), of(20), of(39));
        assert!(booking.lines.iter().all(|l| (1..=9).contains(&l.traffic)));
    }

    #[test]
    fn the_same_seed_gives_the_same_lines() {
        assert_eq!(generated(1, 1_000).0, generated(1, 1_000).0);
        assert_ne!(generated(1, 1_000).0, generated(2, 1_000).0);
    }
}
