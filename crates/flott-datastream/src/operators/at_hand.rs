//! Runs user code record by record, and tells the record that it worked on when it fails.
//!
//! On the way nothing is noted but a record's place in its batch: what it was is read from the batch when its function has failed.
//! A record that is given away can only be read there if it was copied, which costs nothing where it owns nothing.

use super::told;
use crate::function::BoxError;
use crate::records::{Data, Records};
use crate::text::write_text;
use crate::times::Times;
use flott_core::EventTime;
use flott_runtime::{FailureLabel, TaskError};
use serde::Serialize;
use std::alloc::Layout;
use std::cell::Cell;
use std::fmt;
use std::mem::needs_drop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

/// Runs user code for the records of batches: those that are lent ([`Self::each`]), or given away one by one.
pub struct AtHand<T> {
    /// How many records of the subtask came before the batch.
    before: u64,
    /// The batch that is given away: what owns nothing is copied out of it and stays, anything else is moved.
    copied: Vec<T>,
    moved: std::vec::IntoIter<T>,
    times: Times,
    /// How many of the batch were given away.
    given: usize,
    /// The places of its records in the subtask's batch, of which it is a part.
    places: Option<Vec<u32>>,
}

impl<T> fmt::Debug for AtHand<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AtHand(behind record {})", self.before + self.given as u64)
    }
}

impl<T: Data> Default for AtHand<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Data> AtHand<T> {
    /// Before the first record.
    pub fn new() -> Self {
        Self {
            before: 0,
            copied: vec![],
            moved: vec![].into_iter(),
            times: Times::default(),
            given: 0,
            places: None,
        }
    }

    /// Runs user code for each record of a batch, with its event time if it has one.
    ///
    /// # Errors
    /// What the code returned or panicked with, and the record that it was given.
    pub fn each(
        &mut self,
        records: &Records<T>,
        code: impl FnMut(&T, Option<EventTime>) -> Result<(), BoxError>,
    ) -> Result<(), TaskError> {
        self.look(records, code)?;
        self.count(records.values.len());
        Ok(())
    }

    /// The same for records that are worked on later, and count then.
    pub(crate) fn look(
        &self,
        records: &Records<T>,
        mut code: impl FnMut(&T, Option<EventTime>) -> Result<(), BoxError>,
    ) -> Result<(), TaskError> {
        let place = Cell::new(0);
        let ended = catch_unwind(AssertUnwindSafe(|| {
            for (index, value) in records.values.iter().enumerate() {
                place.set(index);
                code(value, records.times.get(index))?;
            }
            Ok(())
        }));
        self.told_of(ended, records, place.get())
    }

    /// What `code` makes of all records, one after the other; it tells the place of the one that it is at. They count later.
    pub(crate) fn make<M>(
        &self,
        records: &Records<T>,
        code: impl FnOnce(&Records<T>, &Cell<usize>) -> M,
    ) -> Result<M, TaskError> {
        let place = Cell::new(0);
        let mut made = None;
        let ended = catch_unwind(AssertUnwindSafe(|| {
            made = Some(code(records, &place));
            Ok(())
        }));
        self.told_of(ended, records, place.get())?;
        made.ok_or_else(|| TaskError::internal("a function of records ended without what it makes"))
    }

    /// Notes that so many records were worked on.
    pub(crate) fn count(&mut self, records: usize) {
        self.before += records as u64;
    }

    fn told_of(
        &self,
        ended: thread::Result<Result<(), BoxError>>,
        records: &Records<T>,
        place: usize,
    ) -> Result<(), TaskError> {
        told(ended, || {
            let number = self.before + place as u64 + 1;
            at(records.values.get(place), number, records.time(place))
        })
    }

    /// Takes a batch whose records are given away one by one. They have counted when the last one was worked on.
    pub(crate) fn take(&mut self, records: Records<T>) {
        match needs_drop::<T>() {
            true => self.moved = records.values.into_iter(),
            false => self.copied = records.values,
        }
        self.times = records.times;
        self.given = 0;
        self.places = None;
    }

    /// The same for some records of a batch, by their places in it (none: all of it); the batch is counted by [`Self::count`].
    pub(crate) fn take_part(&mut self, records: Records<T>, places: Vec<u32>) {
        self.take(records);
        self.places = Some(places);
    }

    /// How many records are left to be given away.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        match needs_drop::<T>() {
            true => self.moved.len(),
            false => self.copied.len() - self.given,
        }
    }

    /// How many of the batch were given away: the place of the next.
    #[inline]
    pub(crate) fn place(&self) -> usize {
        self.given
    }

    /// Gives the next record away, with its event time if it has one.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<(T, Option<EventTime>)> {
        let value = match needs_drop::<T>() {
            true => self.moved.next()?,
            false => self.copied.get(self.given)?.clone(),
        };
        let time = self.times.get(self.given);
        self.given += 1;
        Some((value, time))
    }

    /// Gives all records away, and appends what `f` makes of each.
    ///
    /// The loop has no branch but its end: what is made has its room before, and places are counted once.
    #[inline]
    pub(crate) fn give_all<U>(&mut self, made: &mut Vec<U>, mut f: impl FnMut(T) -> U) {
        if needs_drop::<T>() && made.is_empty() && Layout::new::<T>() == Layout::new::<U>() {
            // In the memory that the records lie in.
            let (moved, given) = (std::mem::take(&mut self.moved), &mut self.given);
            let made_of = |value| {
                *given += 1;
                f(value)
            };
            *made = moved.map(made_of).collect();
            return;
        }
        let from = self.given;
        let made = CountMade {
            before: made.len(),
            made,
            given: &mut self.given,
        };
        match needs_drop::<T>() {
            true => made.made.extend(std::mem::take(&mut self.moved).map(f)),
            false => made.made.extend(self.copied[from..].iter().cloned().map(f)),
        }
    }

    /// The event times of the batch, for those who made one record of each.
    pub(crate) fn take_times(&mut self) -> Times {
        std::mem::take(&mut self.times)
    }

    /// Runs user code, which takes records by [`Self::next`].
    ///
    /// # Errors
    /// As [`Self::each`].
    pub(crate) fn guard(&mut self, code: impl FnOnce(&mut Self) -> Result<(), BoxError>) -> Result<(), TaskError> {
        let ended = catch_unwind(AssertUnwindSafe(|| code(self)));
        told(ended, || {
            let place = self.given.saturating_sub(1);
            let in_batch = self.places.as_ref().and_then(|places| places.get(place).copied());
            let number = self.before + in_batch.map_or(place as u64, u64::from) + 1;
            at(self.copied.get(place), number, self.times.get(place))
        })?;
        if self.len() == 0 {
            let given = std::mem::take(&mut self.given);
            if self.places.take().is_none() {
                self.count(given);
            }
            // Memory that is still warm for what comes next.
            self.copied = vec![];
            self.moved = vec![].into_iter();
            self.times = Times::default();
        }
        Ok(())
    }
}

/// What `make` appends for each of so many records; where it panics, `place` tells how many it had made.
pub(crate) fn made_of_each<U>(records: usize, place: &Cell<usize>, make: impl FnOnce(&mut Vec<U>)) -> Vec<U> {
    struct Made<'a, U>(Vec<U>, &'a Cell<usize>);
    impl<U> Drop for Made<'_, U> {
        fn drop(&mut self) {
            self.1.set(self.0.len());
        }
    }
    let mut made = Made(Vec::with_capacity(records), place);
    make(&mut made.0);
    std::mem::take(&mut made.0)
}

/// Counts the records from which others were made, also where the function that makes them panics.
struct CountMade<'a, U> {
    made: &'a mut Vec<U>,
    before: usize,
    given: &'a mut usize,
}

impl<U> Drop for CountMade<'_, U> {
    fn drop(&mut self) {
        *self.given += self.made.len() - self.before + usize::from(thread::panicking());
    }
}

/// Where a function stood.
fn at<T: Serialize>(value: Option<&T>, number: u64, time: Option<EventTime>) -> String {
    let mut text = format!("at record {number}");
    let mut shown = String::new();
    if value.is_some_and(|value| write_text(value, &mut shown).is_ok()) {
        text.push_str(&format!(", {shown},"));
    }
    text.push_str(&format!(" of type {}", std::any::type_name::<T>()));
    if let Some(time) = time {
        text.push_str(&format!(" with event time {time}"));
    }
    text
}

/// The failure of user code at a record, the `number`th of its subtask.
pub(crate) fn describe_failure<T: Serialize>(
    value: &T,
    number: u64,
    time: Option<EventTime>,
    error: BoxError,
) -> TaskError {
    let message = format!("the function failed {}", at(Some(value), number, time));
    TaskError::caused(FailureLabel::User, message, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records<T: Data>(values: &[T]) -> Records<T> {
        Records {
            values: values.to_vec(),
            times: (10..10 + values.len() as i64).collect::<Vec<_>>().into(),
        }
    }

    fn texts() -> Records<String> {
        records(&["a", "b", "c"].map(str::to_owned))
    }

    /// Takes all records, and fails at `wrong`.
    fn take_all<T: Data + PartialEq>(at_hand: &mut AtHand<T>, wrong: &T) -> Result<(), TaskError> {
        at_hand.guard(|at_hand| {
            while let Some((value, _)) = at_hand.next() {
                if value == *wrong {
                    return Err("no".into());
                }
            }
            Ok(())
        })
    }

    #[test]
    fn the_record_at_hand_is_told_with_its_number_and_time() {
        let mut at_hand = AtHand::new();
        at_hand.take(records(&[1, 2, 3]));
        take_all(&mut at_hand, &9).unwrap();
        at_hand.take(records(&[4, 5]));
        let error = take_all(&mut at_hand, &5).unwrap_err().to_string();
        assert!(error.contains("record 5, 5, of type i32 with event time 11"), "{error}");
    }

    #[test]
    fn what_was_given_away_is_told_by_its_number_and_what_was_lent_is_shown() {
        let mut at_hand = AtHand::new();
        at_hand.take(texts());
        let error = take_all(&mut at_hand, &"b".to_owned()).unwrap_err().to_string();
        assert!(
            error.contains("record 2 of type alloc::string::String with event time 11"),
            "{error}"
        );

        let mut at_hand = AtHand::new();
        at_hand.each(&texts(), |_, _| Ok(())).unwrap();
        let fails = |text: &String, _: Option<EventTime>| match text == "c" {
            true => Err("no".into()),
            false => Ok(()),
        };
        let error = at_hand.each(&texts(), fails).unwrap_err().to_string();
        assert!(error.contains("record 6, c, of type"), "{error}");
    }

    #[test]
    fn a_panic_while_something_is_made_of_each_tells_the_one_that_failed() {
        let at_hand = AtHand::new();
        let made = at_hand.make(&records(&[1, 2, 0, 4]), |records, place| {
            made_of_each(4, place, |made| made.extend(records.values.iter().map(|n| 12 / n)))
        });
        let error = made.unwrap_err().to_string();
        assert!(
            error.contains("panicked at record 3, 0,") && error.contains("divide by zero"),
            "{error}"
        );
    }

    #[test]
    fn what_is_given_away_at_once_tells_the_one_that_failed() {
        let half = |n: usize| match n {
            0 => panic!("nothing to halve"),
            n => n / 2,
        };
        let mut at_hand = AtHand::new();
        let mut made = vec![9];
        at_hand.take(records(&[2, 4, 6]));
        let _ = at_hand.next();
        at_hand
            .guard(|at_hand| {
                at_hand.give_all(&mut made, half);
                Ok(())
            })
            .unwrap();
        assert_eq!((made, at_hand.len()), (vec![9, 2, 3], 0));
        at_hand.take(records(&[8, 0, 10]));
        let error = at_hand.guard(|at_hand| {
            at_hand.give_all(&mut vec![], half);
            Ok(())
        });
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("record 5, 0,") && error.contains("nothing to halve"),
            "{error}"
        );

        let mut at_hand = AtHand::new();
        at_hand.take(texts());
        let error = at_hand.guard(|at_hand| {
            at_hand.give_all(&mut vec![], |text| half(text.find('c').map_or(1, |_| 0)));
            Ok(())
        });
        let error = error.unwrap_err().to_string();
        assert!(error.contains("record 3 of type"), "{error}");
    }

    #[test]
    fn a_part_of_a_batch_tells_places_in_the_batch() {
        let mut at_hand = AtHand::new();
        at_hand.count(100);
        at_hand.take_part(records(&[7, 8]), vec![3, 9]);
        let error = take_all(&mut at_hand, &8).unwrap_err().to_string();
        assert!(error.contains("record 110, 8,"), "{error}");
        at_hand.take_part(records(&[7]), vec![3]);
        take_all(&mut at_hand, &8).unwrap();
        at_hand.take(records(&[8]));
        let error = take_all(&mut at_hand, &8).unwrap_err().to_string();
        assert!(error.contains("record 101, 8,"), "parts do not count: {error}");
    }
}
