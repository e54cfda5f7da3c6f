//! Integers and floating-point numbers: `Long.parseLong`, `Double.parseDouble`, `Double.toString` and kin.
//!
//! Left out of `Double.parseDouble`: hexadecimal notation. Digits are ASCII's.

/// Without the leading and trailing bytes up to the space (Java's `String.trim`).
#[inline]
pub(crate) fn trim(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && *first <= b' '
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && *last <= b' '
    {
        text = rest;
    }
    text
}

/// A whole number with an optional sign and nothing else around it.
#[inline]
pub(crate) fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value: u64 = 0;
    if digits.len() <= 18 {
        for digit in digits {
            let d = digit.wrapping_sub(b'0');
            if d > 9 {
                return None;
            }
            value = value * 10 + u64::from(d);
        }
    } else {
        for digit in digits {
            let d = digit.wrapping_sub(b'0');
            if d > 9 {
                return None;
            }
            value = value.checked_mul(10)?.checked_add(u64::from(d))?;
        }
    }
    if negative {
        0i64.checked_sub_unsigned(value)
    } else {
        i64::try_from(value).ok()
    }
}

/// Whether Java would read this as a decimal floating-point number, and the part without a type suffix.
fn java_float(text: &[u8]) -> Option<&str> {
    let text = trim(text);
    let text = match text {
        [rest @ .., b'd' | b'D' | b'f' | b'F'] => rest,
        _ => text,
    };
    let plain = |b: &u8| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
    if !text.iter().all(plain) {
        return None;
    }
    std::str::from_utf8(text).ok()
}

/// The names that Java knows, with an optional sign.
fn java_special(text: &[u8]) -> Option<f64> {
    let (sign, name) = match trim(text) {
        [b'-', rest @ ..] => (-1.0, rest),
        [b'+', rest @ ..] => (1.0, rest),
        rest => (1.0, rest),
    };
    match name {
        b"NaN" => Some(f64::NAN),
        b"Infinity" => Some(f64::INFINITY * sign),
        _ => None,
    }
}

/// `Double.parseDouble`.
pub(crate) fn parse_f64(text: &[u8]) -> Option<f64> {
    match java_float(text) {
        Some(plain) => plain.parse().ok(),
        None => java_special(text),
    }
}

/// `Float.parseFloat`.
pub(crate) fn parse_f32(text: &[u8]) -> Option<f32> {
    match java_float(text) {
        Some(plain) => plain.parse().ok(),
        None => java_special(text).map(|v| v as f32),
    }
}

/// A whole number that a JSON number with fraction or exponent stands for: cut towards zero; `None` if outside
/// `min..=max`, compared as Jackson compares, before cutting.
pub(crate) fn cut_to_integer(text: &[u8], min: i64, max: i64) -> Option<i64> {
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (value >= min as f64 && value <= max as f64).then_some(value as i64)
}

/// Two digits for each number below 100.
pub(crate) const DIGIT_PAIRS: &[u8; 200] =
    b"00010203040506070809101112131415161718192021222324252627282930313233343536373839\
4041424344454647484950515253545556575859606162636465666768697071727374757677787980818283848586878889909192939495969798\
99";

/// Appends a whole number.
#[inline]
pub(crate) fn write_i64(out: &mut Vec<u8>, value: i64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    while rest >= 100 {
        let pair = (rest % 100) as usize * 2;
        rest /= 100;
        at -= 2;
        digits[at..at + 2].copy_from_slice(&DIGIT_PAIRS[pair..pair + 2]);
    }
    if rest >= 10 {
        let pair = rest as usize * 2;
        at -= 2;
        digits[at..at + 2].copy_from_slice(&DIGIT_PAIRS[pair..pair + 2]);
    } else {
        at -= 1;
        digits[at] = b'0' + rest as u8;
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends `Double.toString` (as Java writes it since 19: the shortest text that reads back).
pub(crate) fn write_f64(out: &mut Vec<u8>, value: f64) {
    if write_special(out, value) {
        return;
    }
    // `{:e}` gives the shortest digits as d[.ddd]e[-]x.
    let text = format!("{:e}", value.abs());
    write_java_float(out, value.is_sign_negative(), &text);
}

/// Appends `Float.toString`.
pub(crate) fn write_f32(out: &mut Vec<u8>, value: f32) {
    if write_special(out, f64::from(value)) {
        return;
    }
    let text = format!("{:e}", value.abs());
    write_java_float(out, value.is_sign_negative(), &text);
}

fn write_special(out: &mut Vec<u8>, value: f64) -> bool {
    let text: &[u8] = if value.is_nan() {
        b"NaN"
    } else if value == f64::INFINITY {
        b"Infinity"
    } else if value == f64::NEG_INFINITY {
        b"-Infinity"
    } else {
        return false;
    };
    out.extend_from_slice(text);
    true
}

/// Java's choice between plain and scientific notation: plain from 10^-3 up to below 10^7.
fn write_java_float(out: &mut Vec<u8>, negative: bool, scientific: &str) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (first, rest) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if negative {
        out.push(b'-');
    }
    if mantissa == "0" {
        out.extend_from_slice(b"0.0");
    } else if (0..7).contains(&exponent) {
        let whole = exponent as usize;
        out.extend_from_slice(first.as_bytes());
        let shown = rest.len().min(whole);
        out.extend_from_slice(&rest.as_bytes()[..shown]);
        out.resize(out.len() + whole - shown, b'0');
        out.push(b'.');
        out.extend_from_slice(if rest.len() > whole {
            &rest.as_bytes()[whole..]
        } else {
            b"0"
        });
    } else if (-3..0).contains(&exponent) {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + (-exponent - 1) as usize, b'0');
        out.extend_from_slice(first.as_bytes());
        out.extend_from_slice(rest.as_bytes());
    } else {
        out.extend_from_slice(first.as_bytes());
        out.push(b'.');
        out.extend_from_slice(if rest.is_empty() { b"0" } else { rest.as_bytes() });
        out.push(b'E');
        write_i64(out, i64::from(exponent));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f64_text(v: f64) -> String {
        let mut out = vec![];
        write_f64(&mut out, v);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn doubles_print_as_in_java() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (100.0, "100.0"),
            (123456.789, "123456.789"),
            (9_999_999.999, "9999999.999"),
            (1e7, "1.0E7"),
            (12_345_678.9, "1.23456789E7"),
            (0.001, "0.001"),
            (0.00099, "9.9E-4"),
            (1e21, "1.0E21"),
            (1e100, "1.0E100"),
            (f64::MIN_POSITIVE, "2.2250738585072014E-308"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(f64_text(value), text);
        }
        let mut out = vec![];
        write_f32(&mut out, 3.402_823_5e38);
        assert_eq!(out, b"3.4028235E38");
    }

    #[test]
    fn integers_read_and_print_to_their_ends() {
        for value in [0, 7, -7, 10, 99, 100, 12345, i64::MAX, i64::MIN, i64::MIN + 1] {
            let mut out = vec![];
            write_i64(&mut out, value);
            assert_eq!(out, value.to_string().as_bytes());
            assert_eq!(parse_i64(&out), Some(value));
        }
        assert_eq!(parse_i64(b"+003"), Some(3));
        for bad in [
            "",
            "-",
            "+",
            "1.0",
            "9223372036854775808",
            " 1",
            "1e3",
            "--1",
            "99999999999999999999999",
        ] {
            assert_eq!(parse_i64(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn floats_read_what_java_reads() {
        assert_eq!(parse_f64(b" 1.5d "), Some(1.5));
        assert_eq!(parse_f64(b"1e400"), Some(f64::INFINITY));
        assert_eq!(parse_f64(b"-Infinity"), Some(f64::NEG_INFINITY));
        assert!(parse_f64(b"NaN").unwrap().is_nan());
        for bad in ["", "inf", "nan", "infinity", "1_0", "e5", ".", "abc", "1..2"] {
            assert_eq!(parse_f64(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(cut_to_integer(b"-1.9", i64::MIN, i64::MAX), Some(-1));
        assert_eq!(cut_to_integer(b"2147483647.5", i32::MIN.into(), i32::MAX.into()), None);
    }
}
