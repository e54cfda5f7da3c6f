//! DECIMAL: `BigDecimal`'s text, read with rounding half up to the column's scale.

/// A number read for a DECIMAL column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decimal {
    /// The unscaled value at the column's scale.
    Value(i128),
    /// A number that has more digits than the column's precision; Flink makes it NULL.
    TooLarge,
}

/// Reads `[+-]digits[.digits][e[+-]digits]`, at least one digit; `None` if it is something else.
pub(crate) fn parse(text: &[u8], precision: u8, scale: u8) -> Option<Decimal> {
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (mantissa, exponent) = match unsigned.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(at) => (&unsigned[..at], parse_exponent(&unsigned[at + 1..])?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = match mantissa.iter().position(|b| *b == b'.') {
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        None => (mantissa, &mantissa[..0]),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // value = digits * 10^(exponent - fraction.len()); wanted: value * 10^scale, rounded.
    let digits = || whole.iter().chain(fraction);
    if !digits().all(u8::is_ascii_digit) {
        return None;
    }
    let leading_zeros = digits().take_while(|d| **d == b'0').count();
    let significant = whole.len() + fraction.len() - leading_zeros;
    if significant == 0 {
        return Some(Decimal::Value(0));
    }
    let shift = exponent - fraction.len() as i64 + i64::from(scale);
    // Digits that stay before the rounding point.
    let kept = significant as i64 + shift.min(0);
    if kept + shift.max(0) > 38 {
        return Some(Decimal::TooLarge);
    }
    if kept < 0 {
        return Some(Decimal::Value(0));
    }
    let mut value: i128 = 0;
    let mut significant_digits = digits().skip(leading_zeros);
    for digit in significant_digits.by_ref().take(kept as usize) {
        value = value * 10 + i128::from(digit - b'0');
    }
    if shift < 0 && significant_digits.next().is_some_and(|d| *d >= b'5') {
        value += 1;
    }
    value *= 10i128.pow(shift.max(0) as u32);
    if value >= 10i128.pow(u32::from(precision)) {
        return Some(Decimal::TooLarge);
    }
    Some(Decimal::Value(if negative { -value } else { value }))
}

fn parse_exponent(text: &[u8]) -> Option<i64> {
    let value = super::number::parse_i64(text)?;
    // Java keeps the exponent in 32 bits.
    (i64::from(i32::MIN)..=i64::from(i32::MAX))
        .contains(&value)
        .then_some(value)
}

/// Appends the value as plain digits with its full scale (`BigDecimal.toPlainString`).
pub(crate) fn write_plain(out: &mut Vec<u8>, unscaled: i128, scale: u8) {
    if unscaled < 0 {
        out.push(b'-');
    }
    let digits = unscaled.unsigned_abs().to_string();
    let scale = usize::from(scale);
    if scale == 0 {
        out.extend_from_slice(digits.as_bytes());
    } else if digits.len() > scale {
        let (whole, fraction) = digits.as_bytes().split_at(digits.len() - scale);
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(fraction);
    } else {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + scale - digits.len(), b'0');
        out.extend_from_slice(digits.as_bytes());
    }
}

/// Appends the value without trailing zeros, in `BigDecimal.toString`'s choice of notation.
pub(crate) fn write_stripped(out: &mut Vec<u8>, unscaled: i128, scale: u8) {
    let mut magnitude = unscaled.unsigned_abs();
    let mut scale = i32::from(scale);
    if magnitude == 0 {
        return out.push(b'0');
    }
    while magnitude.is_multiple_of(10) {
        magnitude /= 10;
        scale -= 1;
    }
    write_java(out, unscaled < 0, &magnitude.to_string(), scale);
}

/// Appends digits * 10^-scale as `BigDecimal.toString` does: plain where the scale is not negative and the first digit
/// stands no lower than 10^-6.
pub(crate) fn write_java(out: &mut Vec<u8>, negative: bool, digits: &str, scale: i32) {
    if negative {
        out.push(b'-');
    }
    let adjusted = digits.len() as i64 - 1 - i64::from(scale);
    let digits = digits.as_bytes();
    if scale == 0 {
        out.extend_from_slice(digits);
    } else if scale > 0 && adjusted >= -6 {
        let scale = scale as usize;
        if digits.len() > scale {
            out.extend_from_slice(&digits[..digits.len() - scale]);
            out.push(b'.');
            out.extend_from_slice(&digits[digits.len() - scale..]);
        } else {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + scale - digits.len(), b'0');
            out.extend_from_slice(digits);
        }
    } else {
        out.push(digits[0]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.push(b'E');
        if adjusted >= 0 {
            out.push(b'+');
        }
        super::number::write_i64(out, adjusted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_with_rounding_half_up_and_tells_what_does_not_fit() {
        let read = |t: &str, p, s| parse(t.as_bytes(), p, s);
        for (text, value) in [
            ("1.235", 124),
            ("1.245", 125),
            ("-1.245", -125),
            ("1e2", 10_000),
            (".5", 50),
            ("1.", 100),
            ("+.5e1", 500),
            ("0.004", 0),
            ("0.005", 1),
            ("0e99999", 0),
            ("1e-99999", 0),
            ("000000000000000000000000000000000000000000001", 100),
        ] {
            assert_eq!(read(text, 5, 2), Some(Decimal::Value(value)), "{text}");
        }
        for text in [
            "12345",
            "999.995",
            "1e400",
            "123456789012345678901234567890123456789012345",
        ] {
            assert_eq!(read(text, 5, 2), Some(Decimal::TooLarge), "{text}");
        }
        for text in ["", ".", "-", "abc", "1e", "1e+", " 1", "1.2.3", "0x1", "1e99999999999"] {
            assert_eq!(read(text, 5, 2), None, "{text}");
        }
        assert_eq!(read("1e37", 38, 0), Some(Decimal::Value(10i128.pow(37))));
    }

    #[test]
    fn prints_plain_and_stripped() {
        let show = |f: fn(&mut Vec<u8>, i128, u8), v, s| {
            let mut out = vec![];
            f(&mut out, v, s);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(show(write_plain, 110, 2), "1.10");
        assert_eq!(show(write_plain, -1, 10), "-0.0000000001");
        assert_eq!(show(write_plain, 0, 2), "0.00");
        assert_eq!(show(write_stripped, 110, 2), "1.1");
        assert_eq!(show(write_stripped, 10_000, 2), "1E+2");
        assert_eq!(show(write_stripped, -10_000, 2), "-1E+2");
        assert_eq!(show(write_stripped, 1, 10), "1E-10");
        assert_eq!(show(write_stripped, 10_000, 10), "0.000001");
        assert_eq!(show(write_stripped, 123_000, 0), "1.23E+5");
        assert_eq!(show(write_stripped, 1_234_567_800, 3), "1234567.8");
    }
}
