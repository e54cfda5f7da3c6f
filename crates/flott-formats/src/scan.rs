//! Finding the end of a string or field: the next of some bytes, sixteen at a time.
//!
//! Strings in records are short (names, URLs), where the set-up of `memchr2` costs more than its search.

/// Marks in sixteen bytes, as bits from the lowest on.
#[cfg(target_arch = "x86_64")]
mod sse2 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_max_epu8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi8,
    };

    #[inline(always)]
    fn load(bytes: &[u8; 16]) -> __m128i {
        // SAFETY: SSE2 is part of x86-64, and sixteen bytes are there to be read, at any alignment.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    pub(super) fn either(bytes: &[u8; 16], a: u8, b: u8) -> i32 {
        let block = load(bytes);
        // SAFETY: SSE2 is part of x86-64; no memory is read.
        unsafe {
            let of = |byte: u8| _mm_cmpeq_epi8(block, _mm_set1_epi8(byte as i8));
            _mm_movemask_epi8(_mm_or_si128(of(a), of(b)))
        }
    }

    #[inline(always)]
    pub(super) fn any(bytes: &[u8; 16], wanted: [u8; 4]) -> i32 {
        let block = load(bytes);
        // SAFETY: as above.
        unsafe {
            let of = |byte: u8| _mm_cmpeq_epi8(block, _mm_set1_epi8(byte as i8));
            let first = _mm_or_si128(of(wanted[0]), of(wanted[1]));
            _mm_movemask_epi8(_mm_or_si128(first, _mm_or_si128(of(wanted[2]), of(wanted[3]))))
        }
    }

    #[inline(always)]
    pub(super) fn escapes(bytes: &[u8; 16]) -> i32 {
        let block = load(bytes);
        // SAFETY: as above.
        unsafe {
            let of = |byte: u8| _mm_cmpeq_epi8(block, _mm_set1_epi8(byte as i8));
            let control = _mm_cmpeq_epi8(_mm_min_epu8(block, _mm_set1_epi8(0x1F)), block);
            let beyond = _mm_cmpeq_epi8(_mm_max_epu8(block, _mm_set1_epi8(0xF0_u8 as i8)), block);
            _mm_movemask_epi8(_mm_or_si128(
                _mm_or_si128(control, beyond),
                _mm_or_si128(of(b'"'), of(b'\\')),
            ))
        }
    }
}

/// Goes over `text` from `from` on, sixteen bytes at a time; the last block overlaps the one before it, and only texts
/// below sixteen bytes are looked at byte by byte.
macro_rules! find {
    ($text:expr, $from:expr, |$block:ident| $sixteen:expr, |$byte:ident| $one:expr) => {{
        let mut at = $from;
        #[cfg(target_arch = "x86_64")]
        {
            while let Some($block) = $text.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
                let hits = $sixteen;
                if hits != 0 {
                    return at + hits.trailing_zeros() as usize;
                }
                at += 16;
            }
            if let Some($block) = $text.last_chunk::<16>() {
                // Marks before `at` are of bytes seen already, or of those before `from`.
                let start = $text.len() - 16;
                let hits = $sixteen >> (at.min($text.len()) - start);
                return if hits == 0 {
                    $text.len()
                } else {
                    at + hits.trailing_zeros() as usize
                };
            }
        }
        while let Some(&$byte) = $text.get(at) {
            if $one {
                return at;
            }
            at += 1;
        }
        $text.len()
    }};
}

/// Index of the first `a` or `b` in `text` from `from` on; its length if there is none.
#[inline(always)]
pub(crate) fn find_either(text: &[u8], from: usize, a: u8, b: u8) -> usize {
    find!(text, from, |block| sse2::either(block, a, b), |byte| byte == a
        || byte == b)
}

/// Index of the first of four bytes in `text` from `from` on; its length if there is none.
#[inline(always)]
pub(crate) fn find_any(text: &[u8], from: usize, wanted: [u8; 4]) -> usize {
    find!(text, from, |block| sse2::any(block, wanted), |byte| wanted
        .contains(&byte))
}

/// Index of the first byte in `text` from `from` on that cannot stand in a JSON string as it is: a control character, a
/// quote, a backslash, or the first byte of a character beyond the basic plane. The length if there is none.
#[inline(always)]
pub(crate) fn find_escape(text: &[u8], from: usize) -> usize {
    find!(text, from, |block| sse2::escapes(block), |byte| !(0x20..0xF0)
        .contains(&byte)
        || matches!(byte, b'"' | b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_at_every_distance() {
        for length in 0..70 {
            for hit in 0..=length {
                let mut text = vec![b'x'; length];
                if hit < length {
                    text[hit] = if hit % 2 == 0 { b'"' } else { b'\\' };
                }
                for from in 0..=hit {
                    assert_eq!(find_either(&text, from, b'"', b'\\'), hit);
                    assert_eq!(find_any(&text, from, [b'"', b',', b'\\', b'\n']), hit);
                    assert_eq!(find_escape(&text, from), hit);
                }
            }
        }
    }

    #[test]
    fn every_byte_is_known_as_plain_or_not() {
        for byte in 0..=255u8 {
            let plain = (0x20..0xF0).contains(&byte) && !matches!(byte, b'"' | b'\\');
            assert_eq!(find_escape(&[byte; 1], 0), usize::from(plain), "{byte}");
            assert_eq!(find_escape(&[byte; 16], 0), if plain { 16 } else { 0 }, "{byte}");
        }
    }
}
