//! Numbers of a run in as few bytes as the largest needs: [`Packing`].
//!
//! Counts are small and keys lie close together; a run holds each as its distance from the smallest of its column, in 0, 1, 2,
//! 4, 8 or 16 bytes. A million counts take a megabyte instead of eight, which is what a checkpoint costs most: memory written.

/// How the values of one column of a run are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// Bytes of each value.
    pub(crate) width: u8,
    /// What is added to each; zero for types that are not integers.
    pub(crate) base: i128,
}

impl Packing {
    /// Values as they are, in `width` bytes.
    pub(crate) fn plain(width: usize) -> Self {
        Self {
            width: width as u8,
            base: 0,
        }
    }

    /// Values up to `distance` above `base`.
    pub(crate) fn above(base: i128, distance: u128) -> Self {
        let width = match distance {
            0 => 0,
            1..=0xff => 1,
            0x100..=0xffff => 2,
            0x1_0000..=0xffff_ffff => 4,
            0x1_0000_0000..=0xffff_ffff_ffff_ffff => 8,
            _ => 16,
        };
        Self { width, base }
    }

    /// Whether a reader knows the width.
    pub(crate) fn is_valid(&self, widest: usize) -> bool {
        matches!(self.width, 0 | 1 | 2 | 4 | 8 | 16) && usize::from(self.width) <= widest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::column::Fixed;

    #[test]
    fn the_widest_distance_decides() {
        let of = |values: &[i64]| i64::packing(values.iter().copied());
        assert_eq!(of(&[]), Packing { width: 0, base: 0 });
        assert_eq!(of(&[7, 7]), Packing { width: 0, base: 7 });
        assert_eq!(of(&[-1, 254]), Packing { width: 1, base: -1 });
        assert_eq!(of(&[-1, 255]).width, 2);
        assert_eq!(of(&[0, 1 << 16]).width, 4);
        assert_eq!(of(&[0, 1 << 32]).width, 8);
        assert_eq!(of(&[i64::MAX, i64::MIN]).width, 8);
        let wide = i128::packing([i128::MIN, i128::MAX].into_iter());
        assert_eq!((wide.width, wide.base), (16, i128::MIN));
        assert_eq!(f64::packing([0.0].into_iter()), Packing::plain(8));
    }

    #[test]
    fn packed_values_read_back() {
        fn round<T: Fixed, const N: usize>(values: &[T], packing: Packing) {
            assert_eq!(usize::from(packing.width), N);
            for value in values {
                let bytes: [u8; N] = value.pack(packing.base);
                assert_eq!(T::unpack(&bytes, packing.base), *value);
            }
        }
        let extremes = [i64::MIN, -1, 0, i64::MAX];
        round::<_, 8>(&extremes, i64::packing(extremes.into_iter()));
        let small = [-300i64, -200, -45];
        round::<_, 1>(&small, i64::packing(small.into_iter()));
        let wide = [i128::MIN, 5, i128::MAX];
        round::<_, 16>(&wide, i128::packing(wide.into_iter()));
        let high = [(1i128 << 100) + 3, 1 << 100];
        round::<_, 1>(&high, i128::packing(high.into_iter()));
        round::<_, 8>(&[1.5f64, -0.0], f64::packing([1.5].into_iter()));
        round::<_, 1>(&[true, false], bool::packing([true].into_iter()));
    }
}
