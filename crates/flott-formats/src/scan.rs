//! Finding the end of a string: the next byte of two, sixteen bytes at a time.

/// Index of the first `a` or `b` in `text` from `from` on; its length if there is none.
///
/// Strings in records are short (names, URLs), where the set-up of `memchr2` costs more than its search: measured on
/// Nexmark bids by `examples/bench_decode.rs`.
#[inline(always)]
pub(crate) fn find_either(text: &[u8], from: usize, a: u8, b: u8) -> usize {
    let mut at = from;
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8};
        while at + 16 <= text.len() {
            // SAFETY: SSE2 is part of x86-64, and the sixteen bytes from `at` on are inside `text`.
            let hits = unsafe {
                let block = _mm_loadu_si128(text.as_ptr().add(at).cast());
                let of_a = _mm_cmpeq_epi8(block, _mm_set1_epi8(a as i8));
                let of_b = _mm_cmpeq_epi8(block, _mm_set1_epi8(b as i8));
                _mm_movemask_epi8(_mm_or_si128(of_a, of_b))
            };
            if hits != 0 {
                return at + hits.trailing_zeros() as usize;
            }
            at += 16;
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    if text.len() >= at + 16 {
        return memchr::memchr2(a, b, &text[at..]).map_or(text.len(), |i| at + i);
    }
    while at < text.len() && text[at] != a && text[at] != b {
        at += 1;
    }
    at
}

/// Index of the first of four bytes in `text` from `from` on; its length if there is none.
#[inline(always)]
pub(crate) fn find_any(text: &[u8], from: usize, wanted: [u8; 4]) -> usize {
    let mut at = from;
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8};
        while at + 16 <= text.len() {
            // SAFETY: SSE2 is part of x86-64, and the sixteen bytes from `at` on are inside `text`.
            let hits = unsafe {
                let block = _mm_loadu_si128(text.as_ptr().add(at).cast());
                let of = |byte: u8| _mm_cmpeq_epi8(block, _mm_set1_epi8(byte as i8));
                let first = _mm_or_si128(of(wanted[0]), of(wanted[1]));
                _mm_movemask_epi8(_mm_or_si128(first, _mm_or_si128(of(wanted[2]), of(wanted[3]))))
            };
            if hits != 0 {
                return at + hits.trailing_zeros() as usize;
            }
            at += 16;
        }
    }
    while at < text.len() && !wanted.contains(&text[at]) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_of_either_at_every_distance() {
        for length in 0..70 {
            for hit in 0..=length {
                let mut text = vec![b'x'; length];
                if hit < length {
                    text[hit] = if hit % 2 == 0 { b'"' } else { b'\\' };
                }
                for from in 0..=hit {
                    assert_eq!(find_either(&text, from, b'"', b'\\'), hit);
                    assert_eq!(find_any(&text, from, [b'"', b',', b'\\', b'\n']), hit);
                }
            }
        }
    }
}
