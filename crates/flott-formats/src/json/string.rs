//! Escapes in JSON strings, both ways.

use crate::scan::find_escape;

/// Appends what the inside of a JSON string stands for; `text` is UTF-8.
///
/// # Errors
/// Offset of an escape that JSON does not know.
pub(crate) fn unescape(text: &[u8], out: &mut Vec<u8>) -> Result<(), usize> {
    let mut at = 0;
    while at < text.len() {
        let next = memchr::memchr(b'\\', &text[at..]).map_or(text.len(), |i| at + i);
        out.extend_from_slice(&text[at..next]);
        if next == text.len() {
            break;
        }
        let plain = match text.get(next + 1) {
            Some(b'"') => b'"',
            Some(b'\\') => b'\\',
            Some(b'/') => b'/',
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                at = unescape_unicode(text, next, out).ok_or(next)?;
                continue;
            }
            _ => return Err(next),
        };
        out.push(plain);
        at = next + 2;
    }
    Ok(())
}

/// Appends the character of `\uXXXX` (or a pair of them) at `at`; gives the offset after it.
fn unescape_unicode(text: &[u8], at: usize, out: &mut Vec<u8>) -> Option<usize> {
    let first = hex4(text, at + 2)?;
    let mut next = at + 6;
    let code = match first {
        0xD800..=0xDBFF if text[next..].starts_with(b"\\u") => match hex4(text, next + 2)? {
            second @ 0xDC00..=0xDFFF => {
                next += 6;
                0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)
            }
            _ => u32::from(b'?'),
        },
        0xD800..=0xDFFF => u32::from(b'?'),
        code => code,
    };
    let c = char::from_u32(code).unwrap_or('?');
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    Some(next)
}

fn hex4(text: &[u8], at: usize) -> Option<u32> {
    text.get(at..at + 4)?
        .iter()
        .try_fold(0, |code, digit| Some(code * 16 + char::from(*digit).to_digit(16)?))
}

/// Appends `text`, which is UTF-8, as a JSON string with its quotes. Characters beyond the basic plane become `\u` pairs
/// if `ascii_pairs`.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &[u8], ascii_pairs: bool) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut at = 0;
    loop {
        let next = find_escape(text, at);
        out.extend_from_slice(&text[at..next]);
        if next == text.len() {
            break;
        }
        at = next + write_escaped(out, &text[next..], ascii_pairs);
    }
    out.push(b'"');
}

/// Appends the character that `text` begins with, which is not plain, and gives its length.
#[cold]
fn write_escaped(out: &mut Vec<u8>, text: &[u8], ascii_pairs: bool) -> usize {
    let short = match text[0] {
        b'"' => b'"',
        b'\\' => b'\\',
        8 => b'b',
        12 => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        control if control < 0x20 => {
            write_unit(out, u16::from(control));
            return 1;
        }
        _ => {
            let length = text.len().min(4);
            match std::str::from_utf8(&text[..length]).ok().and_then(|s| s.chars().next()) {
                Some(c) if ascii_pairs => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write_unit(out, *unit);
                    }
                }
                _ => out.extend_from_slice(&text[..length]),
            }
            return length;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
    1
}

fn write_unit(out: &mut Vec<u8>, unit: u16) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        out.push(HEX[usize::from(unit >> shift & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn un(text: &str) -> Result<String, usize> {
        let mut out = vec![];
        unescape(text.as_bytes(), &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn escapes_read_and_unpaired_surrogates_become_question_marks() {
        assert_eq!(
            un(r#"a\u00e9\uD83D\uDE00\\\/\b\f\n\r\t\""#).unwrap(),
            "aé😀\\/\u{8}\u{c}\n\r\t\""
        );
        assert_eq!(un(r"\uD83Dx\uDE00\uD83D\uD83D\uDE00").unwrap(), "?x??😀");
        assert_eq!(un(r"ab\q"), Err(2));
        assert_eq!(un(r"\u12"), Err(0));
        assert_eq!(un(r"\u12G4"), Err(0));
    }

    #[test]
    fn strings_write_as_jackson_writes_them() {
        let show = |text: &str, pairs| {
            let mut out = vec![];
            write_string(&mut out, text.as_bytes(), pairs);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            show("x\"\\/\u{1}\u{7f}\n\té\u{2028}😀<>&", true),
            "\"x\\\"\\\\/\\u0001\u{7f}\\n\\té\u{2028}\\uD83D\\uDE00<>&\""
        );
        assert_eq!(show("😀", false), "\"😀\"");
    }
}
