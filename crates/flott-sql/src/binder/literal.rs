//! Constants: numbers with Flink's types, strings, dates, times and intervals.

use crate::error::{SqlError, SqlResult, Step};
use crate::expr::{Expr, Literal};
use chrono::{NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use flott_core::types::timestamp_unit;
use flott_core::{LogicalType, TypeKind};
use sqlparser::ast::{self, DataType, DateTimeField, Value};
use sqlparser::tokenizer::Span;

/// A plain constant.
pub fn bind_value(value: &Value, span: Span) -> SqlResult<Expr> {
    match value {
        Value::Number(text, _) => number(text).map_err(|e| e.at_span(span)),
        Value::SingleQuotedString(text) | Value::UnicodeStringLiteral(text) => Ok(Expr::string(text.clone())),
        Value::Boolean(value) => Ok(Expr::boolean(*value)),
        Value::Null => Ok(Expr::null(TypeKind::Null)),
        Value::HexStringLiteral(text) => hex(text).map_err(|e| e.at_span(span)),
        other => Err(
            SqlError::new(Step::Syntax, format!("{other} is no constant of Flink SQL"))
                .at_span(span)
                .remedy("write strings in single quotes, a quote in a string twice"),
        ),
    }
}

/// `123` is INT (or BIGINT), `1.50` DECIMAL(3, 2), `1e3` DOUBLE.
fn number(text: &str) -> SqlResult<Expr> {
    let out_of_range = || SqlError::new(Step::Type, format!("the number {text} is out of range"));
    if text.contains(['e', 'E']) {
        return text.parse().map(Expr::double).map_err(|_| out_of_range());
    }
    let Some((whole, fraction)) = text.split_once('.') else {
        if let Ok(value) = text.parse::<i32>() {
            return Ok(Expr::int(value));
        }
        if let Ok(value) = text.parse::<i64>() {
            return Ok(Expr::bigint(value));
        }
        return Err(out_of_range().remedy("write it as a string and CAST it to DECIMAL"));
    };
    let digits = format!("{whole}{fraction}");
    let unscaled: i128 = digits.parse().map_err(|_| out_of_range())?;
    let (precision, scale) = (digits.len(), fraction.len());
    if precision > 38 {
        return Err(out_of_range().remedy("DECIMAL has at most 38 digits"));
    }
    let (precision, scale) = (precision as u8, scale as u8);
    let value = Literal::Decimal {
        unscaled,
        precision,
        scale,
    };
    Ok(Expr::literal(
        value,
        LogicalType::not_null(TypeKind::Decimal(precision, scale)),
    ))
}

fn hex(text: &str) -> SqlResult<Expr> {
    let wrong = || {
        SqlError::new(
            Step::Syntax,
            format!("x'{text}' needs an even number of hexadecimal digits"),
        )
    };
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return Err(wrong());
    }
    let bytes = (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).map_err(|_| wrong()))
        .collect::<SqlResult<Vec<u8>>>()?;
    let length = bytes.len() as u32;
    Ok(Expr::literal(
        Literal::Binary(bytes),
        LogicalType::not_null(TypeKind::Binary(length)),
    ))
}

/// `-1` as a constant; `None` where `expr` is no number.
pub fn negated(expr: &Expr) -> Option<Expr> {
    let Expr::Literal { value, ty } = expr else { return None };
    let value = match value {
        Literal::Integer(v) => Literal::Integer(v.checked_neg()?),
        Literal::Double(v) => Literal::Double(-v),
        Literal::Decimal {
            unscaled,
            precision,
            scale,
        } => Literal::Decimal {
            unscaled: -unscaled,
            precision: *precision,
            scale: *scale,
        },
        Literal::IntervalMs(v) => Literal::IntervalMs(v.checked_neg()?),
        Literal::IntervalMonths(v) => Literal::IntervalMonths(v.checked_neg()?),
        _ => return None,
    };
    Some(Expr::literal(value, ty.clone()))
}

/// `-9223372036854775808` and `-2147483648`, whose positive forms do not fit.
pub fn smallest(text: &str) -> Option<Expr> {
    let value: i64 = format!("-{text}").parse().ok()?;
    match i32::try_from(value) {
        Ok(value) => Some(Expr::int(value)),
        Err(_) => Some(Expr::bigint(value)),
    }
}

/// `DATE '…'`, `TIME '…'`, `TIMESTAMP '…'`.
pub fn bind_typed(typed: &ast::TypedString, span: Span) -> SqlResult<Expr> {
    let Value::SingleQuotedString(text) = &typed.value.value else {
        return Err(SqlError::new(Step::Syntax, "a string in single quotes is needed").at_span(span));
    };
    let wrong = |what: &str, form: &str| {
        SqlError::new(Step::Type, format!("'{text}' is no {what}"))
            .at_span(span)
            .remedy(format!("write {form}"))
    };
    match &typed.data_type {
        DataType::Date => {
            let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| wrong("DATE", "DATE '2024-12-31'"))?;
            let days = date.signed_duration_since(NaiveDate::default()).num_days();
            Ok(Expr::literal(
                Literal::Date(days as i32),
                LogicalType::not_null(TypeKind::Date),
            ))
        }
        DataType::Time(..) => {
            let time = NaiveTime::parse_from_str(text, "%H:%M:%S%.f").map_err(|_| wrong("TIME", "TIME '23:59:59'"))?;
            // a fraction is read and dropped: Flink's constant is a TIME(0)
            Ok(Expr::literal(
                Literal::Time(time.num_seconds_from_midnight() as i32 * 1000),
                LogicalType::not_null(TypeKind::Time(0)),
            ))
        }
        DataType::Timestamp(..) => {
            let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f")
                .map_err(|_| wrong("TIMESTAMP", "TIMESTAMP '2024-12-31 23:59:59.999'"))?
                .and_utc();
            let precision = fraction_digits(text);
            let value = match timestamp_unit(precision) {
                arrow_schema::TimeUnit::Millisecond => Some(time.timestamp_millis()),
                arrow_schema::TimeUnit::Microsecond => Some(time.timestamp_micros()),
                _ => time.timestamp_nanos_opt(),
            };
            let value = value.ok_or_else(|| wrong("TIMESTAMP in range", "a year from 1678 to 2261"))?;
            Ok(Expr::literal(
                Literal::Timestamp(value),
                LogicalType::not_null(TypeKind::Timestamp(precision)),
            ))
        }
        other => Err(SqlError::new(
            Step::Unsupported,
            format!("constants of type {other} are not supported"),
        )
        .at_span(span)
        .remedy("CAST a string to the type")),
    }
}

fn fraction_digits(text: &str) -> u8 {
    text.rsplit_once('.').map_or(0, |(_, f)| f.len().min(9) as u8)
}

/// `INTERVAL '10' SECOND`, `INTERVAL '1 12' DAY TO HOUR`, `INTERVAL '1-2' YEAR TO MONTH`.
pub fn bind_interval(interval: &ast::Interval, span: Span) -> SqlResult<Expr> {
    let wrong = |message: String| {
        SqlError::new(Step::Syntax, message)
            .at_span(span)
            .remedy("write for example INTERVAL '10' SECOND, INTERVAL '1' DAY or INTERVAL '1:30' HOUR TO MINUTE")
    };
    let (outer_sign, value) = match interval.value.as_ref() {
        ast::Expr::UnaryOp {
            op: ast::UnaryOperator::Minus,
            expr,
        } => (-1, expr.as_ref()),
        other => (1, other),
    };
    let text = match value {
        ast::Expr::Value(v) => match &v.value {
            Value::SingleQuotedString(text) => text.clone(),
            other => return Err(wrong(format!("the interval {other} must be in single quotes"))),
        },
        other => {
            return Err(wrong(format!(
                "the interval {other} must be a constant in single quotes"
            )));
        }
    };
    let Some(first) = &interval.leading_field else {
        return Err(wrong(format!("the interval '{text}' has no unit")));
    };
    let last = interval.last_field.as_ref().unwrap_or(first);
    let (first, last) = (unit(first), unit(last));
    let (Some(first), Some(last)) = (first, last) else {
        return Err(wrong(format!("the interval '{text}' has an unknown unit")));
    };
    let (sign, body) = match text.trim().strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.trim()),
    };
    let value = parse_interval(body, first, last).ok_or_else(|| wrong(format!("'{text}' is no such interval")))?;
    let digits = interval.leading_precision.unwrap_or(LEADING_DIGITS);
    let leading = body.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    let leading = leading.trim_start_matches('0');
    if leading.len() as u64 > digits {
        let unit = UNIT_NAMES[first];
        return Err(SqlError::new(
            Step::Type,
            format!("{leading} in the interval '{text}' has more than {digits} digits"),
        )
        .at_span(span)
        .remedy(format!("write {unit}({})", leading.len())));
    }
    let value = value
        .checked_mul(sign * outer_sign)
        .ok_or_else(|| wrong(format!("'{text}' is too long")))?;
    if first <= MONTH {
        let months = i32::try_from(value).map_err(|_| wrong(format!("'{text}' is too long")))?;
        let ty = LogicalType::not_null(TypeKind::IntervalYearMonth);
        return Ok(Expr::literal(Literal::IntervalMonths(months), ty));
    }
    let ty = LogicalType::not_null(TypeKind::IntervalDayTime);
    Ok(Expr::literal(Literal::IntervalMs(value), ty))
}

const YEAR: usize = 0;
const MONTH: usize = 1;
const DAY: usize = 2;
const SECOND: usize = 5;

/// Digits that the first unit of an interval may have where the constant does not say it, as in `DAY(3)`.
const LEADING_DIGITS: u64 = 2;

const UNIT_NAMES: [&str; 6] = ["YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND"];

/// Digits that a fraction of a second may have.
const FRACTION_DIGITS: usize = 6;

/// Lengths in months (years, months) or milliseconds (days to seconds).
const UNITS: [i64; 6] = [12, 1, 86_400_000, 3_600_000, 60_000, 1_000];

fn unit(field: &DateTimeField) -> Option<usize> {
    Some(match field {
        DateTimeField::Year | DateTimeField::Years => YEAR,
        DateTimeField::Month | DateTimeField::Months => MONTH,
        DateTimeField::Day | DateTimeField::Days => DAY,
        DateTimeField::Hour | DateTimeField::Hours => 3,
        DateTimeField::Minute | DateTimeField::Minutes => 4,
        DateTimeField::Second | DateTimeField::Seconds => SECOND,
        _ => return None,
    })
}

fn parse_interval(body: &str, first: usize, last: usize) -> Option<i64> {
    if last < first || (first <= MONTH) != (last <= MONTH) {
        return None;
    }
    let parts: Vec<&str> = body.split([' ', ':', '-']).collect();
    if parts.len() != last - first + 1 {
        return None;
    }
    let mut total = 0_i64;
    for (i, part) in parts.iter().enumerate() {
        let unit = first + i;
        let value = if unit == SECOND {
            seconds_ms(part)?
        } else {
            part.parse::<u32>().ok().map(i64::from)?.checked_mul(UNITS[unit])?
        };
        total = total.checked_add(value)?;
    }
    Some(total)
}

/// Milliseconds of `12.345`; further digits are cut off.
fn seconds_ms(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > FRACTION_DIGITS || !fraction.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let padded: String = fraction.chars().chain("000".chars()).take(3).collect();
    let whole = whole.parse::<u32>().ok().map(i64::from)?;
    whole.checked_mul(1_000)?.checked_add(padded.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binder::ExprScope;
    use crate::parser::parse_expr;

    fn bound(text: &str) -> Expr {
        ExprScope::default().bind(&parse_expr(text).unwrap()).unwrap()
    }

    #[test]
    fn constants_have_flinks_types() {
        for (text, ty) in [
            ("1", "INT NOT NULL"),
            ("12345678901", "BIGINT NOT NULL"),
            ("0.908", "DECIMAL(4, 3) NOT NULL"),
            ("1.50", "DECIMAL(3, 2) NOT NULL"),
            ("1e3", "DOUBLE NOT NULL"),
            ("'abc'", "CHAR(3) NOT NULL"),
            ("TIMESTAMP '2024-02-29 12:34:56.789123'", "TIMESTAMP(6) NOT NULL"),
            ("TIMESTAMP '2024-02-29 12:34:56'", "TIMESTAMP(0) NOT NULL"),
            ("DATE '2024-02-29'", "DATE NOT NULL"),
            ("x'0aff'", "BINARY(2) NOT NULL"),
            ("-9223372036854775808", "BIGINT NOT NULL"),
        ] {
            assert_eq!(bound(text).ty().to_string(), ty, "{text}");
        }
    }

    #[test]
    fn intervals_are_months_or_milliseconds() {
        for (text, value) in [
            ("INTERVAL '10' SECOND", Literal::IntervalMs(10_000)),
            ("INTERVAL '1.5' SECOND", Literal::IntervalMs(1_500)),
            ("INTERVAL '-2' MINUTE", Literal::IntervalMs(-120_000)),
            ("INTERVAL '1 12:30' DAY TO MINUTE", Literal::IntervalMs(131_400_000)),
            ("INTERVAL '1-2' YEAR TO MONTH", Literal::IntervalMonths(14)),
            ("INTERVAL '60' SECONDS", Literal::IntervalMs(60_000)),
        ] {
            assert_eq!(bound(text).as_literal(), Some(&value), "{text}");
        }
    }
}
