//! Zigzag varints as Kafka's records use them.

/// Appends `value`.
#[inline]
pub fn put(buf: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        buf.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    buf.push(zigzag as u8);
}

/// Bytes that [`put`] appends.
#[inline]
pub fn size(value: i64) -> usize {
    let zigzag = ((value << 1) ^ (value >> 63)) as u64;
    (64 - (zigzag | 1).leading_zeros() as usize).div_ceil(7)
}

/// Reads at `*at` and moves it past; `None` when the bytes end or the number has more than 64 bits.
#[inline(always)]
pub fn get(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let first = *bytes.get(*at)?;
    *at += 1;
    if first < 0x80 {
        return Some(i64::from(first >> 1) ^ -i64::from(first & 1));
    }
    get_long(bytes, at, first)
}

#[inline]
fn get_long(bytes: &[u8], at: &mut usize, first: u8) -> Option<i64> {
    let mut value = u64::from(first & 0x7f);
    let mut shift = 7;
    loop {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
        shift += 7;
        if shift > 63 {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        for value in [
            0,
            1,
            -1,
            63,
            64,
            -64,
            -65,
            300,
            i64::from(i32::MAX),
            i64::from(i32::MIN),
            i64::MAX,
            i64::MIN,
        ] {
            let mut buf = Vec::new();
            put(&mut buf, value);
            assert_eq!(buf.len(), size(value), "{value}");
            let mut at = 0;
            assert_eq!((get(&buf, &mut at), at), (Some(value), buf.len()));
        }
    }

    #[test]
    fn endless_and_cut_numbers_are_refused() {
        assert_eq!(get(&[0xff; 20], &mut 0), None);
        assert_eq!(get(&[0x80], &mut 0), None);
        assert_eq!(get(&[], &mut 0), None);
    }
}
