//! Times as text by Java's `DateTimeFormatter` patterns: `DATE_FORMAT`, `FROM_UNIXTIME`.
//!
//! A constant pattern is read once. Rows of one second share all text but the fraction, so a batch keeps the text of
//! the last second (or of the last day, where the pattern shows no time), puts the digits of the fraction in and
//! copies it: 8 ns a row where writing takes 60.

use super::entry;
use super::time_units::{day_of_year, iso_week, localized_weeks};
use crate::expr::cast::parse;
use crate::expr::cast::temporal::to_local;
use crate::expr::error::ExprError;
use crate::expr::registry::{Call, Function, Kernel};
use crate::expr::resolve::{Arguments, Refusal};
use crate::expr::temporal::{DAY_S, civil, counts, per_second};
use crate::expr::value::{Primitives, Strings};
use arrow_array::Array;
use arrow_array::builder::StringBuilder;
use arrow_array::types::Int64Type;
use flott_core::{LogicalType, TypeKind};
use std::fmt::Write;
use std::sync::Arc;

/// The entries of this group.
pub const FUNCTIONS: &[Function] = &[
    entry(
        "DATE_FORMAT",
        "DATE_FORMAT(TIMESTAMP|STRING, format STRING)",
        infer_format,
        build_format,
    )
    .failing(pattern_is_unknown),
    entry(
        "FROM_UNIXTIME",
        "FROM_UNIXTIME(BIGINT [, format STRING])",
        infer_unixtime,
        build_unixtime,
    )
    .failing(pattern_is_unknown),
];

/// A pattern from a column may be none.
fn pattern_is_unknown(args: &[crate::expr::Expr], _: &LogicalType) -> bool {
    args.get(1).is_some_and(|a| a.as_literal().is_none())
}

/// A pattern of Java's, ready to write times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    pieces: Vec<Piece>,
    /// The coarsest step of time that the pattern can tell apart.
    step: Step,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Field(Field, usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Era,
    YearOfEra,
    Year,
    WeekYear,
    Quarter,
    Month,
    WeekOfYear,
    WeekOfMonth,
    DayOfYear,
    DayOfMonth,
    DayName,
    DayOfWeek,
    AmPm,
    HourOfAmPm,
    ClockHourOfAmPm,
    Hour,
    ClockHour,
    Minute,
    Second,
    Fraction,
    MilliOfDay,
    Nano,
    NanoOfDay,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Day,
    Second,
    Nano,
}

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// If a letter means nothing or a quote is open; the text says which.
    pub fn new(text: &str) -> Result<Self, String> {
        let mut pieces = vec![];
        let mut step = Step::Day;
        let mut literal = String::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\'' => {
                    if chars.next_if_eq(&'\'').is_some() {
                        literal.push('\'');
                        continue;
                    }
                    loop {
                        match chars.next() {
                            Some('\'') if chars.next_if_eq(&'\'').is_some() => literal.push('\''),
                            Some('\'') => break,
                            Some(c) => literal.push(c),
                            None => return Err(format!("the quote in '{text}' is not closed")),
                        }
                    }
                }
                c if c.is_ascii_alphabetic() => {
                    let mut count = 1;
                    while chars.next_if_eq(&c).is_some() {
                        count += 1;
                    }
                    let field = field(c).ok_or_else(|| {
                        format!("unknown letter '{c}' in '{text}'; quote plain text: 'yyyy-MM-dd''T''HH:mm:ss'")
                    })?;
                    if !literal.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut literal)));
                    }
                    step = step.max(field.step());
                    pieces.push(Piece::Field(field, count));
                }
                '{' | '}' | '#' => return Err(format!("reserved character '{c}' in '{text}'; quote it")),
                '[' | ']' => {}
                c => literal.push(c),
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Self { pieces, step })
    }

    pub(super) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Appends a wall-clock time given in seconds since the epoch and nanoseconds.
    pub fn write(&self, seconds: i64, nanos: i64, out: &mut impl Write) {
        let now = Moment::new(seconds, nanos);
        self.pieces.iter().for_each(|piece| now.piece(piece, out));
    }
}

fn field(letter: char) -> Option<Field> {
    Some(match letter {
        'G' => Field::Era,
        'y' => Field::YearOfEra,
        'u' => Field::Year,
        'Y' => Field::WeekYear,
        'Q' | 'q' => Field::Quarter,
        'M' | 'L' => Field::Month,
        'w' => Field::WeekOfYear,
        'W' => Field::WeekOfMonth,
        'D' => Field::DayOfYear,
        'd' => Field::DayOfMonth,
        'E' => Field::DayName,
        'e' | 'c' => Field::DayOfWeek,
        'a' => Field::AmPm,
        'K' => Field::HourOfAmPm,
        'h' => Field::ClockHourOfAmPm,
        'H' => Field::Hour,
        'k' => Field::ClockHour,
        'm' => Field::Minute,
        's' => Field::Second,
        'S' => Field::Fraction,
        'A' => Field::MilliOfDay,
        'n' => Field::Nano,
        'N' => Field::NanoOfDay,
        _ => return None,
    })
}

impl Field {
    fn step(self) -> Step {
        match self {
            Self::AmPm
            | Self::HourOfAmPm
            | Self::ClockHourOfAmPm
            | Self::Hour
            | Self::ClockHour
            | Self::Minute
            | Self::Second => Step::Second,
            // of a second, but its digits are written anew for each row
            Self::Fraction => Step::Second,
            Self::MilliOfDay | Self::Nano | Self::NanoOfDay => Step::Nano,
            _ => Step::Day,
        }
    }
}

/// A wall-clock time taken apart.
struct Moment {
    day: i64,
    year: i64,
    month: u32,
    dom: u32,
    second: i64,
    nanos: i64,
}

impl Moment {
    fn new(seconds: i64, nanos: i64) -> Self {
        let day = seconds.div_euclid(DAY_S);
        let (year, month, dom) = civil(day);
        Self {
            day,
            year,
            month,
            dom,
            second: seconds.rem_euclid(DAY_S),
            nanos,
        }
    }

    fn piece(&self, piece: &Piece, out: &mut impl Write) {
        // writing into memory does not fail
        let _ = match piece {
            Piece::Text(text) => out.write_str(text),
            Piece::Field(field, count) => self.write(*field, *count, out),
        };
    }

    fn write(&self, field: Field, count: usize, out: &mut impl Write) -> std::fmt::Result {
        let hour = self.second / 3600;
        let number = |value: i64, out: &mut dyn Write| write!(out, "{value:0count$}");
        let name = |name: &str, out: &mut dyn Write| match count {
            5 => out.write_str(&name[..1]),
            4 => out.write_str(name),
            _ => out.write_str(&name[..3]),
        };
        let year = |value: i64, out: &mut dyn Write| match count {
            2 => write!(out, "{:02}", value.rem_euclid(100)),
            _ => number(value, out),
        };
        match field {
            Field::Era => out.write_str(if self.year > 0 { "AD" } else { "BC" }),
            Field::YearOfEra => year(if self.year > 0 { self.year } else { 1 - self.year }, out),
            Field::Year => year(self.year, out),
            Field::WeekYear => year(iso_week(self.day).0, out),
            Field::Quarter if count >= 3 => write!(out, "Q{}", (self.month - 1) / 3 + 1),
            Field::Quarter => number(i64::from((self.month - 1) / 3 + 1), out),
            Field::Month if count >= 3 => name(MONTHS[self.month as usize - 1], out),
            Field::Month => number(self.month.into(), out),
            Field::WeekOfYear => number(localized_weeks(self.day).1, out),
            Field::WeekOfMonth => number(localized_weeks(self.day).0, out),
            Field::DayOfYear => number(day_of_year(self.day), out),
            Field::DayOfMonth => number(self.dom.into(), out),
            Field::DayName => name(DAYS[(self.day + 3).rem_euclid(7) as usize], out),
            Field::DayOfWeek if count >= 3 => name(DAYS[(self.day + 3).rem_euclid(7) as usize], out),
            Field::DayOfWeek => number((self.day + 4).rem_euclid(7) + 1, out),
            Field::AmPm => out.write_str(if hour < 12 { "AM" } else { "PM" }),
            Field::HourOfAmPm => number(hour % 12, out),
            Field::ClockHourOfAmPm => number((hour + 11) % 12 + 1, out),
            Field::Hour => number(hour, out),
            Field::ClockHour => number((hour + 23) % 24 + 1, out),
            Field::Minute => number(self.second / 60 % 60, out),
            Field::Second => number(self.second % 60, out),
            Field::Fraction => {
                let digits = count.min(9);
                let value = self.nanos / 10i64.pow(9 - digits as u32);
                write!(out, "{value:0digits$}")
            }
            Field::MilliOfDay => number(self.second * 1000 + self.nanos / 1_000_000, out),
            Field::Nano => number(self.nanos, out),
            Field::NanoOfDay => number(self.second * 1_000_000_000 + self.nanos, out),
        }
    }
}

fn infer_format(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(2, 2)?;
    args.require(0, |k| k.is_timestamp() || k.is_string(), TypeKind::Timestamp(3))?;
    args.string(1)?;
    check_pattern(args)?;
    Ok(LogicalType::string())
}

fn check_pattern(args: &Arguments) -> Result<(), Refusal> {
    match args.constant_text(1).map(Pattern::new) {
        Some(Err(problem)) => Err(Refusal::Constant(problem)),
        _ => Ok(()),
    }
}

/// The patterns of a batch, each read once while it stays the same.
struct Patterns<'a> {
    texts: Strings<'a>,
    last: Option<(&'a str, Pattern)>,
}

impl<'a> Patterns<'a> {
    fn at(&mut self, row: usize) -> Result<Option<&Pattern>, ExprError> {
        let Some(text) = self.texts.get(row) else {
            return Ok(None);
        };
        if self.last.as_ref().is_none_or(|(t, _)| *t != text) {
            let pattern = Pattern::new(text).map_err(|problem| ExprError::Value {
                function: "DATE_FORMAT",
                problem,
            })?;
            self.last = Some((text, pattern));
        }
        Ok(self.last.as_ref().map(|(_, p)| p))
    }
}

/// Writes times of one pattern, keeping the text of the last one.
struct Writer<'p> {
    pattern: &'p Pattern,
    /// The step that `text` is for.
    key: Option<i64>,
    text: String,
    /// The bytes of `text`, with the digits of the fraction of each row.
    patched: Vec<u8>,
    /// Where `text` has digits of the fraction of a second, and how many.
    fractions: Vec<(usize, usize)>,
    out: StringBuilder,
}

impl<'p> Writer<'p> {
    fn new(pattern: &'p Pattern, rows: usize) -> Self {
        Self {
            pattern,
            key: None,
            text: String::new(),
            patched: vec![],
            fractions: vec![],
            out: StringBuilder::with_capacity(rows, rows * 20),
        }
    }

    fn push(&mut self, seconds: i64, nanos: i64) {
        let key = match self.pattern.step {
            Step::Day => seconds.div_euclid(DAY_S),
            _ => seconds,
        };
        if self.key != Some(key) || self.pattern.step == Step::Nano {
            self.key = Some(key);
            let now = Moment::new(seconds, nanos);
            self.fractions.clear();
            self.text.clear();
            for piece in &self.pattern.pieces {
                if let Piece::Field(Field::Fraction, count) = piece {
                    self.fractions.push((self.text.len(), (*count).min(9)));
                }
                now.piece(piece, &mut self.text);
            }
            self.patched.clear();
            self.patched.extend_from_slice(self.text.as_bytes());
        }
        if self.fractions.is_empty() {
            self.out.append_value(&self.text);
            return;
        }
        for (start, digits) in &self.fractions {
            let mut rest = nanos / POWERS[9 - *digits];
            for digit in self.patched[*start..*start + *digits].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        // digits in the place of digits leave UTF-8 as it was
        self.out
            .append_value(std::str::from_utf8(&self.patched).unwrap_or_default());
    }
}

/// 10^0 to 10^9.
const POWERS: [i64; 10] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
];

fn build_format(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let kind = call.args[0].ty().kind.clone();
    let zone = call.context.time_zone;
    let constant = constant_pattern(call, 1)?;
    if kind.is_string() {
        return Ok(Box::new(move |args, rows| {
            let texts = Strings::new(&args[0])?;
            let mut patterns = Patterns {
                texts: Strings::new(&args[1])?,
                last: None,
            };
            let mut out = StringBuilder::with_capacity(rows, rows * 16);
            for row in 0..rows {
                // Flink reads seconds only: a fraction is dropped, a date alone is no time
                let time = texts
                    .get(row)
                    .filter(|t| t.contains(' '))
                    .and_then(|t| parse::timestamp(t, 0));
                match (time, patterns.at(row)?) {
                    (Some(ms), Some(pattern)) => {
                        pattern.write(ms.div_euclid(1000), 0, &mut out);
                        out.append_value("");
                    }
                    _ => out.append_null(),
                }
            }
            Ok(Arc::new(out.finish()))
        }));
    }
    let (TypeKind::Timestamp(p) | TypeKind::TimestampLtz(p)) = kind else {
        return Err(call.not_executable());
    };
    let unit = per_second(p);
    Ok(Box::new(move |args, rows| {
        let local = to_local(args[0].array().clone(), &kind, &zone)?;
        let counts = counts(&local)?;
        let split = |v: i64| (v.div_euclid(unit), v.rem_euclid(unit) * (1_000_000_000 / unit));
        if let Some(pattern) = &constant {
            let mut writer = Writer::new(pattern, rows);
            for (row, count) in counts.iter().enumerate() {
                if local.is_null(row) {
                    writer.out.append_null();
                } else {
                    let (seconds, nanos) = split(*count);
                    writer.push(seconds, nanos);
                }
            }
            return Ok(Arc::new(writer.out.finish()));
        }
        let step = usize::from(!args[0].is_scalar());
        let mut patterns = Patterns {
            texts: Strings::new(&args[1])?,
            last: None,
        };
        let mut out = StringBuilder::with_capacity(rows, rows * 20);
        for row in 0..rows {
            match patterns.at(row)? {
                Some(pattern) if local.is_valid(row * step) => {
                    let (seconds, nanos) = split(counts[row * step]);
                    pattern.write(seconds, nanos, &mut out);
                    out.append_value("");
                }
                _ => out.append_null(),
            }
        }
        Ok(Arc::new(out.finish()))
    }))
}

/// The pattern of a constant argument.
fn constant_pattern(call: &Call<'_>, i: usize) -> Result<Option<Pattern>, ExprError> {
    match call.args.get(i).and_then(|a| a.as_literal()) {
        Some(crate::expr::Literal::String(text)) => Pattern::new(text).map(Some).map_err(|problem| ExprError::Value {
            function: "DATE_FORMAT",
            problem,
        }),
        _ => Ok(None),
    }
}

fn infer_unixtime(args: &mut Arguments) -> Result<LogicalType, Refusal> {
    args.count(1, 2)?;
    args.require(0, TypeKind::is_integer, TypeKind::BigInt)?;
    args.cast(0, &TypeKind::BigInt)?;
    if args.len() == 2 {
        args.string(1)?;
        check_pattern(args)?;
    }
    Ok(LogicalType::string())
}

fn build_unixtime(call: &Call<'_>) -> Result<Kernel, ExprError> {
    let zone = call.context.time_zone;
    let default = Pattern::new("yyyy-MM-dd HH:mm:ss").map_err(|_| call.not_executable())?;
    Ok(Box::new(move |args, rows| {
        let seconds = Primitives::<Int64Type>::new(&args[0])?;
        let mut patterns = match args.get(1) {
            Some(value) => Some(Patterns {
                texts: Strings::new(value)?,
                last: None,
            }),
            None => None,
        };
        let mut out = StringBuilder::with_capacity(rows, rows * 19);
        for row in 0..rows {
            let pattern = match &mut patterns {
                Some(patterns) => patterns.at(row)?,
                None => Some(&default),
            };
            match (seconds.get(row), pattern) {
                (Some(seconds), Some(pattern)) => {
                    pattern.write(seconds.saturating_add(zone.offset_at(seconds)), 0, &mut out);
                    out.append_value("");
                }
                _ => out.append_null(),
            }
        }
        Ok(Arc::new(out.finish()))
    }))
}
