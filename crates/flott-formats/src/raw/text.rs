//! Text in the character sets of `raw.charset`.

use crate::options::Charset;

/// Appends the message's text as UTF-8.
///
/// # Errors
/// Position and reason of what is not of the charset; some text may have been appended.
pub(super) fn read(charset: Charset, message: &[u8], out: &mut Vec<u8>) -> Result<(), (usize, String)> {
    match charset {
        Charset::Utf8 => match std::str::from_utf8(message) {
            Ok(_) => out.extend_from_slice(message),
            Err(e) => {
                return Err((
                    e.valid_up_to(),
                    "not UTF-8; set 'raw.charset' or use a BYTES column".into(),
                ));
            }
        },
        Charset::Ascii => match message.iter().position(|b| !b.is_ascii()) {
            None => out.extend_from_slice(message),
            Some(at) => return Err((at, "not US-ASCII".into())),
        },
        Charset::Latin1 => {
            for byte in message {
                out.extend_from_slice(char::from(*byte).encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        Charset::Utf16 => match message {
            [0xFF, 0xFE, rest @ ..] => read_utf16(rest, u16::from_le_bytes, out)?,
            [0xFE, 0xFF, rest @ ..] => read_utf16(rest, u16::from_be_bytes, out)?,
            _ => read_utf16(message, u16::from_be_bytes, out)?,
        },
        Charset::Utf16Be => read_utf16(message, u16::from_be_bytes, out)?,
        Charset::Utf16Le => read_utf16(message, u16::from_le_bytes, out)?,
    }
    Ok(())
}

fn read_utf16(message: &[u8], unit: fn([u8; 2]) -> u16, out: &mut Vec<u8>) -> Result<(), (usize, String)> {
    let (pairs, rest) = message.as_chunks::<2>();
    if !rest.is_empty() {
        return Err((message.len() - 1, "an odd number of bytes is not UTF-16".into()));
    }
    for (i, c) in char::decode_utf16(pairs.iter().map(|p| unit(*p))).enumerate() {
        let c = c.map_err(|_| (i * 2, "an unpaired surrogate is not UTF-16".to_owned()))?;
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Ok(())
}

/// Appends the text, which is UTF-8, in the charset. Java writes `?` for what the charset has not.
///
/// # Errors
/// If the text is not UTF-8.
pub(super) fn write(charset: Charset, text: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    if charset == Charset::Utf8 {
        out.extend_from_slice(text);
        return Ok(());
    }
    let text = std::str::from_utf8(text).map_err(|e| format!("the text is not UTF-8: {e}"))?;
    match charset {
        Charset::Utf8 => {}
        Charset::Ascii => out.extend(text.chars().map(|c| if c.is_ascii() { c as u8 } else { b'?' })),
        Charset::Latin1 => out.extend(text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'))),
        Charset::Utf16 | Charset::Utf16Be => {
            if charset == Charset::Utf16 && !text.is_empty() {
                out.extend_from_slice(&[0xFE, 0xFF]);
            }
            text.encode_utf16()
                .for_each(|unit| out.extend_from_slice(&unit.to_be_bytes()));
        }
        Charset::Utf16Le => text
            .encode_utf16()
            .for_each(|unit| out.extend_from_slice(&unit.to_le_bytes())),
    }
    Ok(())
}
