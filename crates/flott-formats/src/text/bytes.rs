//! BYTES as base64, the way Jackson reads and writes it.

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// Padding is required; bits of the last character that carry nothing are not looked at.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(true),
);

/// Appends the bytes that the base64 text stands for; between groups of four, white space is skipped. Appends nothing
/// if the text is wrong.
pub(crate) fn read_base64(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let before = out.len();
    let read = if text.iter().any(|b| *b <= b' ') {
        let mut packed = Vec::with_capacity(text.len());
        for byte in text {
            if *byte > b' ' {
                packed.push(*byte);
            } else if packed.len() % 4 != 0 {
                return None;
            }
        }
        ENGINE.decode_vec(packed, out)
    } else {
        ENGINE.decode_vec(text, out)
    };
    if read.is_err() {
        out.truncate(before);
        return None;
    }
    Some(())
}

/// Appends bytes as base64 with padding.
pub(crate) fn write_base64(out: &mut Vec<u8>, value: &[u8]) {
    let start = out.len();
    out.resize(start + value.len().div_ceil(3) * 4, b'=');
    ENGINE
        .encode_slice(value, &mut out[start..])
        .expect("the room is four characters for each begun group of three bytes");
}
