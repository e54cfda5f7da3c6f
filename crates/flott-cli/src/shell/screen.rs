//! `sql-client.execution.result-mode` = `table` on a terminal: the rows that are left, drawn again as they change.
//!
//! ```text
//!                     SQL Query Result (Table)
//!  Refresh: 1 s           Page: Last of 3      Updated: 12:30:01
//!
//!                 word                    n
//!                  sea                    1     one page of rows, the chosen one turned over
//!  Q Quit   R Refresh   …                       the keys
//! ```
//!
//! [`View`] is what is shown, changed by keys and drawn as text; [`run`] reads keys from the terminal, which it puts in its raw
//! mode and gives back as it was ([`Raw`]).

use crate::collect::Rows;
use crate::kept::KeptRows;
use anyhow::{Context, Result};
use flott_cluster::JobHandle;
use flott_core::Field;
use flott_sql::table_text::{cell, display_width};
use rustix::termios::{OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

/// How often the rows are drawn again, from slow to fast, with their names; 0: only when asked.
const REFRESH: [(u64, &str); 7] = [
    (0, "-"),
    (10_000, "10 s"),
    (5_000, "5 s"),
    (1_000, "1 s"),
    (500, "500 ms"),
    (100, "100 ms"),
    (50, "50 ms"),
];
/// Lines above and below the rows.
const HEAD_LINES: usize = 4;
const FOOT_LINES: usize = 3;
/// Keys are waited for so long, in tenths of a second.
const KEY_WAIT: u8 = 1;

/// What a person pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Char(char),
    Up,
    Down,
    Left,
    Right,
    Stop,
}

/// The keys in what the terminal sent.
fn keys(bytes: &[u8]) -> Vec<Key> {
    let mut keys = vec![];
    let mut rest = bytes;
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        match (first, behind) {
            (0x1B, [b'[' | b'O', code, tail @ ..]) => {
                rest = tail;
                keys.extend(match code {
                    b'A' => Some(Key::Up),
                    b'B' => Some(Key::Down),
                    b'C' => Some(Key::Right),
                    b'D' => Some(Key::Left),
                    _ => None,
                });
            }
            (3, _) => keys.push(Key::Stop),
            (byte, _) if byte.is_ascii_graphic() || *byte == b' ' => {
                keys.push(Key::Char(char::from(*byte).to_ascii_uppercase()));
            }
            (b'\r' | b'\n', _) => keys.push(Key::Char('\n')),
            _ => {}
        }
    }
    keys
}

/// What is shown.
#[derive(Debug)]
struct View {
    /// The page, from 0; `None`: always the last.
    page: Option<usize>,
    /// The chosen row of the page.
    chosen: usize,
    /// The first column that is shown.
    first_column: usize,
    /// Which of [`REFRESH`].
    refresh: usize,
    /// Whether the chosen row is shown with all of its text.
    is_open: bool,
    /// Digits of the page to go to, while they are typed.
    go_to: Option<String>,
    /// Whether Ctrl-C has a query to stop.
    is_running: bool,
    /// Rows of a page and pages, when it was drawn last.
    page_rows: usize,
    pages: usize,
}

/// What the loop does behind a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Draw,
    Stop,
    Quit,
}

impl View {
    fn new() -> Self {
        Self {
            page: None,
            chosen: 0,
            first_column: 0,
            refresh: 3,
            is_open: false,
            go_to: None,
            is_running: true,
            page_rows: 1,
            pages: 1,
        }
    }

    fn current_page(&self) -> usize {
        self.page.unwrap_or(usize::MAX).min(self.pages - 1)
    }

    fn press(&mut self, key: Key) -> Act {
        if let Some(digits) = &mut self.go_to {
            match key {
                Key::Char(c) if c.is_ascii_digit() && digits.len() < 9 => digits.push(c),
                Key::Char('\n') => {
                    let number = digits.parse::<usize>().unwrap_or(1);
                    self.page = Some(number.clamp(1, self.pages) - 1);
                    self.go_to = None;
                }
                Key::Stop => return Act::Stop,
                _ => self.go_to = None,
            }
            return Act::Draw;
        }
        match key {
            Key::Stop => return Act::Stop,
            Key::Char('Q') if self.is_open => self.is_open = false,
            Key::Char('Q') => return Act::Quit,
            Key::Char('O' | '\n') => self.is_open = !self.is_open,
            Key::Char('+') => self.refresh = (self.refresh + 1).min(REFRESH.len() - 1),
            Key::Char('-') => self.refresh = self.refresh.saturating_sub(1),
            Key::Char('G') => self.go_to = Some(String::new()),
            Key::Char('L') => self.page = None,
            Key::Char('N') => self.page = Some((self.current_page() + 1).min(self.pages - 1)),
            Key::Char('P') => self.page = Some(self.current_page().saturating_sub(1)),
            Key::Up => self.chosen = self.chosen.saturating_sub(1),
            Key::Down => self.chosen += 1,
            Key::Left => self.first_column = self.first_column.saturating_sub(1),
            Key::Right => self.first_column += 1,
            // R draws, as everything does.
            Key::Char(_) => {}
        }
        Act::Draw
    }

    /// The screen, `size` columns wide and lines high.
    fn draw(
        &mut self,
        columns: &[Field],
        rows: &KeptRows,
        text_width: usize,
        size: (usize, usize),
        status: &str,
    ) -> Vec<String> {
        let (width, height) = size;
        self.page_rows = height.saturating_sub(HEAD_LINES + FOOT_LINES).max(1);
        self.pages = rows.len().div_ceil(self.page_rows).max(1);
        self.first_column = self.first_column.min(columns.len().saturating_sub(1));
        let page = self.current_page();
        let first_row = page * self.page_rows;
        let shown: Vec<&Vec<String>> = rows.iter().skip(first_row).take(self.page_rows).collect();
        self.chosen = self.chosen.min(shown.len().saturating_sub(1));
        let title = "SQL Query Result (Table)";
        let mut lines = vec![fit(&(" ".repeat(width.saturating_sub(title.len()) / 2) + title), width)];
        let of = match self.page {
            None => format!("Last of {}", self.pages),
            Some(_) => format!("{} of {}", page + 1, self.pages),
        };
        let told = format!(
            " Refresh: {}    Page: {of}    Rows: {}    {status}",
            REFRESH[self.refresh].1,
            rows.len()
        );
        lines.push(fit(&told, width));
        lines.push(String::new());
        if self.is_open {
            lines.push(fit(" The row:", width));
            let cells = shown
                .get(self.chosen)
                .into_iter()
                .flat_map(|row| columns.iter().zip(row.iter()));
            let texts = cells.map(|(column, text)| format!("{} ({}): {text}", column.name, column.ty));
            lines.extend(texts.flat_map(|text| wrapped(&text, width)));
        } else {
            let of_column = |i: usize| {
                let longest = shown.iter().map(|row| display_width(&row[i])).max().unwrap_or(0);
                longest.min(text_width).max(display_width(&columns[i].name))
            };
            let widths: Vec<usize> = (0..columns.len()).map(of_column).collect();
            let line = |cells: &mut dyn Iterator<Item = &str>| {
                let mut out = String::new();
                for (text, width) in cells.zip(&widths).skip(self.first_column) {
                    let _ = write!(out, " {}", cell(text, *width));
                }
                fit(&out, width)
            };
            lines.push(format!(
                "\x1b[1m{}\x1b[0m",
                line(&mut columns.iter().map(|c| c.name.as_str()))
            ));
            for (i, row) in shown.iter().enumerate() {
                let text = line(&mut row.iter().map(String::as_str));
                lines.push(match i == self.chosen {
                    true => format!("\x1b[7m{text}\x1b[0m"),
                    false => text,
                });
            }
        }
        lines.truncate(height.saturating_sub(FOOT_LINES));
        lines.resize(height.saturating_sub(FOOT_LINES), String::new());
        lines.push(String::new());
        if let Some(digits) = &self.go_to {
            lines.push(fit(
                &format!(" Go to page (1 to {}, then Enter): {digits}", self.pages),
                width,
            ));
            lines.push(String::new());
        } else {
            lines.push(fit(
                " Q Quit      + faster    N Next Page    G Go to Page    O Open Row    arrows: choose",
                width,
            ));
            let stop = match self.is_running {
                true => "stops the query",
                false => "leaves the result",
            };
            lines.push(fit(
                &format!(" R Refresh   - slower    P Prev Page    L Last Page     Ctrl-C {stop}"),
                width,
            ));
        }
        lines
    }
}

/// A text on one line of at most `width` columns.
fn fit(text: &str, width: usize) -> String {
    let (mut out, mut used) = (String::new(), 0);
    for c in text.chars() {
        let c = if c.is_control() { ' ' } else { c };
        let taken = display_width(c.encode_utf8(&mut [0; 4]));
        if used + taken > width {
            break;
        }
        used += taken;
        out.push(c);
    }
    out
}

/// A text on as many lines as it needs, each behind a blank.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut rest) = (vec![], text);
    loop {
        let part = fit(rest, width.saturating_sub(1).max(2));
        let taken: usize = rest.chars().take(part.chars().count()).map(char::len_utf8).sum();
        rest = &rest[taken..];
        lines.push(format!(" {part}"));
        if rest.is_empty() || taken == 0 {
            return lines;
        }
    }
}

/// The terminal in its raw mode on its other screen, until it is dropped.
struct Raw {
    before: Termios,
}

impl Raw {
    fn begin() -> Result<Self> {
        let terminal = rustix::stdio::stdin();
        let before = tcgetattr(terminal).context("the terminal cannot be used")?;
        let raw = Self { before: before.clone() };
        let mut mode = before;
        mode.make_raw();
        mode.special_codes[SpecialCodeIndex::VMIN] = 0;
        mode.special_codes[SpecialCodeIndex::VTIME] = KEY_WAIT;
        tcsetattr(terminal, OptionalActions::Now, &mode).context("the terminal cannot be used")?;
        write("\x1b[?1049h\x1b[?25l")?;
        Ok(raw)
    }

    /// What was typed meanwhile; nothing, if nothing is for a while.
    fn keys() -> Result<Vec<Key>> {
        let mut bytes = [0; 64];
        match rustix::io::read(rustix::stdio::stdin(), &mut bytes) {
            Ok(count) => Ok(keys(&bytes[..count])),
            Err(rustix::io::Errno::INTR) => Ok(vec![]),
            Err(error) => Err(io::Error::from(error)).context("the terminal cannot be read"),
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // There is nobody left to tell if the terminal has gone.
        let _ = write("\x1b[?25h\x1b[?1049l");
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.before);
    }
}

fn write(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("the terminal cannot be written")
}

/// Shows the rows of a job until Q is pressed or the process is to end; Ctrl-C stops the job and leaves its rows, and leaves the screen
/// of a job that has ended.
///
/// # Errors
/// If the terminal cannot be used.
pub fn run(rows: &Rows, job: &JobHandle, is_over: impl Fn() -> bool) -> Result<()> {
    const DEFAULT_SIZE: (usize, usize) = (80, 24);
    let _raw = Raw::begin()?;
    let mut view = View::new();
    let mut drawn: Option<Instant> = None;
    let mut was_running = true;
    let mut last_size = DEFAULT_SIZE;
    while !is_over() {
        let is_running = !job.status().is_globally_terminal_state();
        view.is_running = is_running;
        let size = tcgetwinsize(rustix::stdio::stdout());
        let size = size.map_or(DEFAULT_SIZE, |s| (usize::from(s.ws_col), usize::from(s.ws_row)));
        let size = if size.0 == 0 || size.1 == 0 { DEFAULT_SIZE } else { size };
        let every_ms = REFRESH[view.refresh].0;
        let is_due = drawn.is_none_or(|d| every_ms > 0 && is_running && d.elapsed() >= Duration::from_millis(every_ms));
        if is_due || is_running != was_running || size != last_size {
            let status = match is_running {
                true => format!("Updated: {}", chrono::Local::now().format("%H:%M:%S%.3f")),
                false => format!("The query is {}", job.status()),
            };
            let lines = rows.screen(|columns, rows, width| view.draw(columns, rows, width, size, &status));
            let text = lines.unwrap_or_default().join("\x1b[K\r\n");
            write(&format!("\x1b[H{text}\x1b[J"))?;
            (drawn, was_running, last_size) = (Some(Instant::now()), is_running, size);
        }
        for key in Raw::keys()? {
            match view.press(key) {
                Act::Draw => {}
                Act::Stop if is_running => job.cancel(),
                Act::Stop | Act::Quit => return Ok(()),
            }
            drawn = None;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flott_core::LogicalType;

    fn columns() -> Vec<Field> {
        vec![
            Field::new("word", LogicalType::string()),
            Field::new("n", LogicalType::bigint()),
        ]
    }

    fn rows(count: usize) -> KeptRows {
        (1..=count).map(|i| vec![format!("word {i}"), i.to_string()]).collect()
    }

    fn drawn(view: &mut View, count: usize) -> Vec<String> {
        view.draw(&columns(), &rows(count), 30, (60, 10), "now")
    }

    #[test]
    fn keys_are_read_from_what_a_terminal_sends() {
        let pressed = keys(b"q\x1b[A\x1bOB\x03N\r\x1b[D");
        let expected = [
            Key::Char('Q'),
            Key::Up,
            Key::Down,
            Key::Stop,
            Key::Char('N'),
            Key::Char('\n'),
            Key::Left,
        ];
        assert_eq!(pressed, expected);
    }

    #[test]
    fn a_page_is_drawn_with_its_keys() {
        let mut view = View::new();
        let lines = drawn(&mut view, 5);
        assert_eq!(lines.len(), 10);
        assert_eq!(lines[0].trim(), "SQL Query Result (Table)");
        assert_eq!(lines[1], " Refresh: 1 s    Page: Last of 2    Rows: 5    now");
        assert_eq!(lines[3], "\x1b[1m   word n\x1b[0m");
        assert_eq!(lines[4], "\x1b[7m word 4 4\x1b[0m");
        assert_eq!(lines[5], " word 5 5");
        assert!(lines[8].contains("Q Quit"), "{lines:?}");
        let foot = view.draw(&columns(), &rows(5), 30, (100, 10), "now").pop().unwrap();
        assert!(foot.contains("Ctrl-C stops the query"));
        view.is_running = false;
        let foot = view.draw(&columns(), &rows(5), 30, (100, 10), "now").pop().unwrap();
        assert!(foot.contains("Ctrl-C leaves the result"));
        assert!(
            drawn(&mut View::new(), 0)[3].contains("word n"),
            "an empty table has its names"
        );
    }

    #[test]
    fn keys_turn_pages_choose_and_open_rows() {
        let mut view = View::new();
        drawn(&mut view, 8);
        assert_eq!(view.pages, 3);
        for (key, page) in [('P', 1), ('P', 0), ('P', 0), ('N', 1), ('L', 2), ('N', 2)] {
            assert_eq!(view.press(Key::Char(key)), Act::Draw);
            assert_eq!(view.current_page(), page, "{key}");
        }
        for key in keys(b"g2\n") {
            view.press(key);
        }
        assert_eq!(view.current_page(), 1);
        view.press(Key::Down);
        view.press(Key::Char('O'));
        let lines = drawn(&mut view, 8);
        assert!(lines.contains(&" word (STRING): word 5".to_owned()), "{lines:?}");
        assert_eq!(view.press(Key::Char('Q')), Act::Draw, "Q closes the row first");
        assert_eq!(view.press(Key::Char('Q')), Act::Quit);
        assert_eq!(view.press(Key::Stop), Act::Stop);
        view.press(Key::Right);
        assert_eq!(drawn(&mut view, 8)[3], "\x1b[1m n\x1b[0m");
        // Fewer rows than the page had: the last page there is.
        assert!(drawn(&mut view, 1)[1].contains("1 of 1"));
        for key in keys(b"---------") {
            view.press(key);
        }
        assert!(drawn(&mut view, 1)[1].contains("Refresh: -"));
    }

    #[test]
    fn lines_fit_the_screen() {
        assert_eq!(fit("a\nb水水", 5), "a b水");
        assert_eq!(wrapped("abcdef水g", 4), [" abc", " def", " 水g"]);
        assert_eq!(wrapped("", 4), [" "]);
        let mut view = View::new();
        let long: KeptRows = [vec!["x".repeat(200), "1".to_owned()]].into_iter().collect();
        let lines = view.draw(&columns(), &long, 30, (40, 12), "now");
        assert!(
            lines
                .iter()
                .all(|l| display_width(&l.replace("\x1b[7m", "").replace("\x1b[0m", "").replace("\x1b[1m", "")) <= 40)
        );
        assert!(lines[4].contains("xxx..."), "{lines:?}");
    }
}
