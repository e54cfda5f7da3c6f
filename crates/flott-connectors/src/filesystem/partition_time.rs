//! The time of a partition, out of its values: `partition.time-extractor.*`.
//!
//! The values take the places of `$key` in `partition.time-extractor.timestamp-pattern` (without it the first value
//! counts), and the text is read by `.timestamp-formatter`, a Java pattern of numbers (`yyyy MM dd HH mm ss SSS`), or, without
//! one, as `y-M-d[ H:m:s[.fraction]]`, where a month 13 or an hour 24 carries over. The time is one of
//! `sink.partition-commit.watermark-time-zone`.

use chrono::{Duration, LocalResult, NaiveDate, NaiveDateTime, TimeZone, Utc};
use chrono_tz::Tz;

/// Makes a point of time from the values of a partition.
#[derive(Debug, Clone)]
pub(super) struct TimeExtractor {
    keys: Vec<String>,
    pattern: Option<String>,
    formatter: Option<Vec<Piece>>,
    zone: Tz,
}

/// A piece of a formatter.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(char),
    /// A letter and how often it stands there.
    Number(char, usize),
}

impl TimeExtractor {
    /// An extractor for the partition columns `keys`.
    ///
    /// # Errors
    /// If formatter or zone cannot be read, with option, value and what is allowed.
    pub(super) fn new(
        keys: Vec<String>,
        pattern: Option<&str>,
        formatter: Option<&str>,
        zone: &str,
    ) -> Result<Self, String> {
        let zone = zone.parse().map_err(|_| {
            format!(
                "option 'sink.partition-commit.watermark-time-zone' cannot be '{zone}'; allowed are names such as \
                 'UTC' and 'Europe/Berlin'"
            )
        })?;
        Ok(Self {
            keys,
            pattern: pattern.map(str::to_owned),
            formatter: formatter.map(parse_formatter).transpose()?,
            zone,
        })
    }

    /// The time of a partition in milliseconds since the epoch; `None` if its values make none.
    pub(super) fn time_ms(&self, values: &[Option<String>]) -> Option<i64> {
        let value = |i: usize| values.get(i).and_then(Option::as_deref);
        let text = match &self.pattern {
            None => value(0)?.to_owned(),
            Some(pattern) => {
                let mut text = pattern.clone();
                for (i, key) in self.keys.iter().enumerate() {
                    let place = format!("${key}");
                    if text.contains(&place) {
                        text = text.replace(&place, value(i)?);
                    }
                }
                text
            }
        };
        let local = match &self.formatter {
            None => parse_default(&text)?,
            Some(pieces) => parse_by(pieces, &text)?,
        };
        self.epoch_ms(local)
    }

    /// A local time that the clocks skipped counts by the offset before the skip, one that comes twice is the first.
    fn epoch_ms(&self, local: NaiveDateTime) -> Option<i64> {
        match self.zone.from_local_datetime(&local) {
            LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => Some(time.timestamp_millis()),
            LocalResult::None => {
                let before = local.checked_sub_signed(Duration::hours(3))?;
                let offset = self.zone.from_local_datetime(&before).earliest()?.naive_utc() - before;
                let utc = local.checked_add_signed(offset)?;
                Some(Utc.from_utc_datetime(&utc).timestamp_millis())
            }
        }
    }
}

fn parse_formatter(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = vec![];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' if chars.next_if_eq(&'\'').is_some() => pieces.push(Piece::Literal('\'')),
            '\'' => loop {
                match chars.next() {
                    None => return Err(wrong_formatter(text, "a quote is not closed")),
                    Some('\'') if chars.next_if_eq(&'\'').is_none() => break,
                    Some(c) => pieces.push(Piece::Literal(c)),
                }
            },
            'y' | 'u' | 'M' | 'd' | 'H' | 'm' | 's' | 'S' => {
                let mut count = 1;
                while chars.next_if_eq(&c).is_some() {
                    count += 1;
                }
                if c == 'M' && count > 2 {
                    return Err(wrong_formatter(text, "names of months are not supported"));
                }
                pieces.push(Piece::Number(if c == 'u' { 'y' } else { c }, count));
            }
            c if c.is_ascii_alphabetic() || matches!(c, '[' | ']' | '{' | '}' | '#') => {
                return Err(wrong_formatter(text, &format!("'{c}' is not supported")));
            }
            c => pieces.push(Piece::Literal(c)),
        }
    }
    for needed in ['y', 'M', 'd'] {
        if !pieces.iter().any(|p| matches!(p, Piece::Number(c, _) if *c == needed)) {
            return Err(wrong_formatter(text, &format!("'{needed}' is missing")));
        }
    }
    Ok(pieces)
}

fn wrong_formatter(text: &str, problem: &str) -> String {
    format!(
        "option 'partition.time-extractor.timestamp-formatter' cannot be '{text}': {problem}; use y, M, d, H, m, s, S and \
         signs between them, such as 'yyyyMMdd HH:mm'"
    )
}

fn parse_by(pieces: &[Piece], text: &str) -> Option<NaiveDateTime> {
    let mut rest = text;
    let (mut year, mut month, mut day, mut hour, mut minute, mut second, mut nanos) = (0, 1, 1, 0, 0, 0, 0);
    for piece in pieces {
        match piece {
            Piece::Literal(c) => rest = rest.strip_prefix(*c)?,
            Piece::Number(letter, count) => {
                let most = if *count == 1 && *letter != 'S' { 2 } else { *count };
                let most = if *letter == 'y' && *count == 1 { 9 } else { most };
                let digits = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
                if digits < *count {
                    return None;
                }
                let number: u32 = rest[..digits].parse().ok()?;
                rest = &rest[digits..];
                match letter {
                    'y' if *count == 2 => year = 2000 + number,
                    'y' => year = number,
                    'M' => month = number,
                    'd' => day = number,
                    'H' => hour = number,
                    'm' => minute = number,
                    's' => second = number,
                    _ => nanos = number.checked_mul(10_u32.checked_pow(9_u32.checked_sub(digits as u32)?)?)?,
                }
            }
        }
    }
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
    rest.is_empty()
        .then(|| date.and_hms_nano_opt(hour, minute, second, nanos))?
}

fn parse_default(text: &str) -> Option<NaiveDateTime> {
    let (date, time) = text.split_once(' ').map_or((text, None), |(d, t)| (d, Some(t)));
    let mut parts = date.splitn(3, '-').map(number);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let months = month - 1;
    let first = NaiveDate::from_ymd_opt(
        i32::try_from(year + months.div_euclid(12)).ok()?,
        u32::try_from(months.rem_euclid(12) + 1).ok()?,
        1,
    )?;
    let mut moment = first
        .and_time(chrono::NaiveTime::MIN)
        .checked_add_signed(Duration::days(day - 1))?;
    if let Some(time) = time {
        let (whole, fraction) = time.split_once('.').map_or((time, None), |(w, f)| (w, Some(f)));
        let mut parts = whole.splitn(3, ':').map(number);
        let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
        let mut nanos = 0;
        if let Some(digits) = fraction {
            let scale = 10_i64.checked_pow(9_u32.checked_sub(u32::try_from(digits.len()).ok()?)?)?;
            nanos = number(digits)? * scale;
        }
        let since = Duration::hours(hours) + Duration::minutes(minutes) + Duration::seconds(seconds);
        moment = moment.checked_add_signed(since + Duration::nanoseconds(nanos))?;
    }
    Some(moment)
}

/// Up to nine digits, so that no sum overflows.
fn number(text: &str) -> Option<i64> {
    let is_number = (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(pattern: Option<&str>, formatter: Option<&str>, zone: &str, values: &[&str]) -> Option<String> {
        let keys = vec!["dt".to_owned(), "hm".to_owned()];
        let extractor = TimeExtractor::new(keys, pattern, formatter, zone).unwrap();
        let values: Vec<_> = values.iter().map(|v| Some((*v).to_owned())).collect();
        let ms = extractor.time_ms(&values)?;
        Some(Utc.timestamp_millis_opt(ms).unwrap().format("%F %T%.f").to_string())
    }

    #[test]
    fn times_are_read_by_pattern_formatter_and_zone() {
        let some = |t: &str| Some(t.to_owned());
        let nexmark = Some("$dt $hm:00");
        assert_eq!(
            time(nexmark, None, "UTC", &["2020-01-02", "03:04"]),
            some("2020-01-02 03:04:00")
        );
        assert_eq!(time(None, None, "UTC", &["2020-1-2"]), some("2020-01-02 00:00:00"));
        assert_eq!(
            time(None, None, "UTC", &["2020-02-31 24:00:01.5"]),
            some("2020-03-03 00:00:01.500")
        );
        let packed = Some("yyyyMMdd HHmm");
        assert_eq!(
            time(Some("$dt $hm"), packed, "UTC", &["20200102", "0304"]),
            some("2020-01-02 03:04:00")
        );
        assert_eq!(
            time(None, None, "Asia/Shanghai", &["2020-01-02 08:00:00"]),
            some("2020-01-02 00:00:00")
        );
        // The clocks skip from 2 to 3 o'clock; Java moves the time by the skip.
        assert_eq!(
            time(None, None, "Europe/Berlin", &["2020-03-29 02:30:00"]),
            some("2020-03-29 01:30:00")
        );
        assert_eq!(time(None, None, "UTC", &["yesterday"]), None);
        assert_eq!(time(Some("$dt"), packed, "UTC", &["2020-01-02"]), None);
    }

    #[test]
    fn wrong_options_say_what_is_allowed() {
        let refused = |formatter, zone| TimeExtractor::new(vec![], None, formatter, zone).unwrap_err();
        assert!(refused(None, "Mars").contains("'Europe/Berlin'"));
        assert!(refused(Some("yyyy-MMM-dd"), "UTC").contains("names of months"));
        assert!(refused(Some("yyyy-DDD"), "UTC").contains("'D' is not supported"));
        assert!(refused(Some("yyyy-MM"), "UTC").contains("'d' is missing"));
    }
}
