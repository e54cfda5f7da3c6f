//! How records become one: [`Fold`], by a closure of two to one ([`ByValue`]) or by one that changes the first ([`InPlace`]).
//!
//! Sums, minima and maxima change what is kept where it lies, and the record that came last carries the copy of it away: the
//! texts of a record are written into memory that it has already.

use flott_state::StateValue;
use std::ops::AddAssign;

/// Folds records.
pub trait Fold<T>: Clone + Send + Sync + 'static {
    /// What two records become.
    fn join(&mut self, first: T, second: T) -> T;

    /// Folds a record into what is kept.
    #[inline]
    fn fold(&mut self, kept: &mut Option<T>, next: T) {
        *kept = Some(match kept.take() {
            Some(before) => self.join(before, next),
            None => next,
        });
    }

    /// The same, and gives a copy of what is kept then.
    #[inline]
    fn fold_and_copy(&mut self, kept: &mut Option<T>, next: T) -> T
    where
        T: StateValue,
    {
        let folded = match kept.take() {
            Some(before) => self.join(before, next),
            None => next,
        };
        kept.insert(folded).clone()
    }
}

/// Joins two records into one.
#[derive(Clone)]
pub struct ByValue<F>(pub(crate) F);

impl<T, F: FnMut(T, T) -> T + Clone + Send + Sync + 'static> Fold<T> for ByValue<F> {
    #[inline]
    fn join(&mut self, first: T, second: T) -> T {
        (self.0)(first, second)
    }
}

/// Changes the first record by the second, which may be left as anything.
#[derive(Clone)]
pub struct InPlace<F>(F);

impl<T, F: Fn(&mut T, &mut T) + Clone + Send + Sync + 'static> Fold<T> for InPlace<F> {
    #[inline]
    fn join(&mut self, mut first: T, mut second: T) -> T {
        (self.0)(&mut first, &mut second);
        first
    }

    #[inline]
    fn fold(&mut self, kept: &mut Option<T>, mut next: T) {
        match kept {
            Some(kept) => (self.0)(kept, &mut next),
            None => *kept = Some(next),
        }
    }

    #[inline]
    fn fold_and_copy(&mut self, kept: &mut Option<T>, mut next: T) -> T
    where
        T: StateValue,
    {
        match kept {
            Some(kept) => {
                (self.0)(kept, &mut next);
                next.copy_from(kept);
            }
            None => *kept = Some(next.clone()),
        }
        next
    }
}

/// The first record, with the sum of both fields.
pub(crate) fn sum_of<T, N: AddAssign + Copy>(
    field: impl Fn(&mut T) -> &mut N + Clone + Send + Sync + 'static,
) -> impl Fold<T> {
    InPlace(move |sum: &mut T, next: &mut T| *field(sum) += *field(next))
}

/// The first record, with the smaller of both fields.
pub(crate) fn min_of<T, N: PartialOrd>(
    field: impl Fn(&mut T) -> &mut N + Clone + Send + Sync + 'static,
) -> impl Fold<T> {
    InPlace(move |kept: &mut T, next: &mut T| {
        let (least, candidate) = (field(kept), field(next));
        if *candidate < *least {
            std::mem::swap(least, candidate);
        }
    })
}

/// The first record, with the larger of both fields.
pub(crate) fn max_of<T, N: PartialOrd>(
    field: impl Fn(&mut T) -> &mut N + Clone + Send + Sync + 'static,
) -> impl Fold<T> {
    InPlace(move |kept: &mut T, next: &mut T| {
        let (most, candidate) = (field(kept), field(next));
        if *candidate > *most {
            std::mem::swap(most, candidate);
        }
    })
}

/// The record of both that `is_better` than the other.
fn better_of<T>(is_better: impl Fn(&T, &T) -> bool + Clone + Send + Sync + 'static) -> impl Fold<T> {
    InPlace(move |kept: &mut T, next: &mut T| {
        if is_better(next, kept) {
            std::mem::swap(kept, next);
        }
    })
}

/// The record with the smaller value; of equal ones the first.
pub(crate) fn min_by_of<T, N: PartialOrd>(value: impl Fn(&T) -> N + Clone + Send + Sync + 'static) -> impl Fold<T> {
    better_of(move |next, kept| value(next) < value(kept))
}

/// The record with the larger value; of equal ones the first.
pub(crate) fn max_by_of<T, N: PartialOrd>(value: impl Fn(&T) -> N + Clone + Send + Sync + 'static) -> impl Fold<T> {
    better_of(move |next, kept| value(next) > value(kept))
}

/// The record with the smaller value; of equal ones the last.
pub(crate) fn min_by_last_of<T, N: PartialOrd>(
    value: impl Fn(&T) -> N + Clone + Send + Sync + 'static,
) -> impl Fold<T> {
    better_of(move |next, kept| value(next) <= value(kept))
}

/// The record with the larger value; of equal ones the last.
pub(crate) fn max_by_last_of<T, N: PartialOrd>(
    value: impl Fn(&T) -> N + Clone + Send + Sync + 'static,
) -> impl Fold<T> {
    better_of(move |next, kept| value(next) >= value(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Folds records one after the other: what each one gives, and what is kept in the end.
    fn folded(mut fold: impl Fold<(String, i64)>, records: &[(&str, i64)]) -> (Vec<(String, i64)>, (String, i64)) {
        let (mut kept, mut alone, mut joined) = (None, None, None);
        let told = records.iter().map(|(text, n)| {
            let next = ((*text).to_owned(), *n);
            fold.fold(&mut alone, next.clone());
            joined = Some(match joined.take() {
                Some(before) => fold.join(before, next.clone()),
                None => next.clone(),
            });
            let told = fold.fold_and_copy(&mut kept, next);
            assert_eq!(Some(&told), kept.as_ref());
            told
        });
        let told = told.collect();
        assert_eq!((&kept, &kept), (&alone, &joined), "all ways come to the same");
        (told, kept.unwrap())
    }

    fn texts(told: &[(String, i64)]) -> String {
        told.iter().map(|(text, n)| format!("{text}{n} ")).collect()
    }

    #[test]
    fn each_record_gives_what_is_kept_then() {
        let records = [("a", 3), ("bb", 5), ("c", 3), ("dddd", 5), ("e", 1)];
        type Record = (String, i64);
        let all = |fold: (Vec<Record>, Record)| texts(&fold.0);
        assert_eq!(
            all(folded(sum_of(|r: &mut Record| &mut r.1), &records)),
            "a3 a8 a11 a16 a17 "
        );
        assert_eq!(
            all(folded(min_of(|r: &mut Record| &mut r.1), &records)),
            "a3 a3 a3 a3 a1 "
        );
        assert_eq!(
            all(folded(max_of(|r: &mut Record| &mut r.1), &records)),
            "a3 a5 a5 a5 a5 "
        );
        assert_eq!(all(folded(min_by_of(|r: &Record| r.1), &records)), "a3 a3 a3 a3 e1 ");
        assert_eq!(
            all(folded(max_by_of(|r: &Record| r.1), &records)),
            "a3 bb5 bb5 bb5 bb5 "
        );
        assert_eq!(
            all(folded(min_by_last_of(|r: &Record| r.1), &records)),
            "a3 a3 c3 c3 e1 "
        );
        assert_eq!(
            all(folded(max_by_last_of(|r: &Record| r.1), &records)),
            "a3 bb5 bb5 dddd5 dddd5 "
        );
        let longer = ByValue(|a: Record, b: Record| if b.0.len() > a.0.len() { b } else { a });
        assert_eq!(all(folded(longer, &records)), "a3 bb5 bb5 dddd5 dddd5 ");
    }
}
