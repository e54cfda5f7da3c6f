//! Typed rows of a stream: [`Records`], what operators of this crate hand to each other.
//!
//! Between operators of a chain the vector itself moves. Between processes it is Postcard bytes: the times, as many as
//! there are values or none, and the values.

use crate::times::Times;
use flott_core::rows::{Rows, RowsError};
use flott_core::{Batch, EventTime};
use flott_runtime::TaskError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// How many records tell the size of all.
const SAMPLES: usize = 8;

/// Most records that have no bytes at all (`()`), in one batch: a damaged number of them must not take time without end.
const MOST_EMPTY: usize = 1 << 24;

/// What can flow in a stream: any value that Serde can write and read without knowing its form from the bytes (so no untagged enums, no
/// flattened and no conditionally skipped fields).
pub trait Data: Clone + Send + Sync + Serialize + DeserializeOwned + 'static {}

impl<T: Clone + Send + Sync + Serialize + DeserializeOwned + 'static> Data for T {}

/// Values of a stream in order, each with its event time if the stream has any.
#[derive(Clone)]
pub struct Records<T> {
    /// The values.
    pub values: Vec<T>,
    /// Their event times.
    pub times: Times,
}

impl<T> Default for Records<T> {
    fn default() -> Self {
        Self {
            values: vec![],
            times: Times::default(),
        }
    }
}

impl<T> fmt::Debug for Records<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} records of type {}",
            self.values.len(),
            std::any::type_name::<T>()
        )
    }
}

impl<T: Data> Records<T> {
    /// Values without event times.
    pub fn of(values: Vec<T>) -> Self {
        Self {
            values,
            times: Times::default(),
        }
    }

    /// The records of a batch.
    ///
    /// # Errors
    /// If the batch holds something else.
    pub fn from_batch(batch: Batch) -> Result<Self, TaskError> {
        let columns = "columns";
        let other = |found| {
            let expected = std::any::type_name::<T>();
            TaskError::internal(RowsError::OtherType { expected, found }.to_string()).fatal()
        };
        let Some(rows) = batch.into_typed() else {
            return Err(other(columns));
        };
        let found = rows.type_name();
        let rows = rows.into_any().downcast::<Self>().map_err(|_| other(found))?;
        Ok(own(rows))
    }

    /// The batch of these records.
    pub fn into_batch(self) -> Batch {
        Batch::of_rows(Arc::new(self))
    }

    /// Adds a record.
    #[inline]
    pub fn push(&mut self, value: T, time: Option<EventTime>) {
        self.times.push(self.values.len(), time);
        self.values.push(value);
    }

    /// Takes all records out for which `kept` is false; it has one for each.
    pub(crate) fn retain(&mut self, kept: &[bool]) {
        let count = kept.iter().filter(|kept| **kept).count();
        if count == self.values.len() {
            return;
        }
        self.times.retain(kept);
        match std::mem::needs_drop::<T>() {
            true => {
                let mut kept = kept.iter();
                self.values.retain(|_| kept.next().is_some_and(|kept| *kept));
            }
            // What owns nothing is copied to its place, whether it stays there or not: a loop without a branch.
            false => {
                let mut place = 0;
                for (index, kept) in kept.iter().enumerate() {
                    self.values[place] = self.values[index].clone();
                    place += usize::from(*kept);
                }
                self.values.truncate(place);
            }
        }
        // Where few are left they must not hold the memory of all, wherever they wait.
        if count < self.values.capacity() / 4 {
            self.values.shrink_to_fit();
        }
    }

    /// The event time of record `index`, if it has one.
    pub fn time(&self, index: usize) -> Option<EventTime> {
        self.times.get(index)
    }

    /// Reads what [`Rows::encode`] wrote.
    ///
    /// # Errors
    /// If the bytes are damaged or of another type.
    pub fn decode(bytes: &[u8]) -> Result<Arc<dyn Rows>, RowsError> {
        let decode = |reason: String| RowsError::Decode {
            type_name: std::any::type_name::<T>(),
            reason,
        };
        let damaged = |e: postcard::Error| decode(e.to_string());
        let (times, values): (Times, &[u8]) = postcard::take_from_bytes(bytes).map_err(damaged)?;
        let (count, behind): (usize, &[u8]) = postcard::take_from_bytes(values).map_err(damaged)?;
        if count > behind.len().max(MOST_EMPTY) {
            return Err(decode(format!("{count} records in {} bytes", behind.len())));
        }
        let (values, rest): (Vec<T>, &[u8]) = postcard::take_from_bytes(values).map_err(damaged)?;
        if !rest.is_empty() {
            return Err(decode(format!("{} bytes are left", rest.len())));
        }
        if !times.is_empty() && times.len() != values.len() {
            return Err(decode(format!(
                "{} event times of {} records",
                times.len(),
                values.len()
            )));
        }
        Ok(Arc::new(Self { values, times }))
    }
}

/// Takes records out of their share: moved where nobody else holds them.
fn own<T: Data>(rows: Arc<Records<T>>) -> Records<T> {
    Arc::try_unwrap(rows).unwrap_or_else(|held| (*held).clone())
}

impl<T: Data> Rows for Records<T> {
    fn len(&self) -> usize {
        self.values.len()
    }

    fn bytes(&self) -> usize {
        // What records own beside themselves is estimated by the encoded size of a few.
        let owned = match std::mem::needs_drop::<T>() {
            true => {
                let step = self.values.len().div_ceil(SAMPLES).max(1);
                let sizes = self
                    .values
                    .iter()
                    .step_by(step)
                    .map(postcard::experimental::serialized_size);
                sizes.map(|size| size.unwrap_or_default() * step).sum()
            }
            false => 0,
        };
        self.values.len() * size_of::<T>() + owned + self.times.len() * 8
    }

    fn take(&self, indices: &[u32]) -> Arc<dyn Rows> {
        let values = indices.iter().map(|i| self.values[*i as usize].clone()).collect();
        let times = self.times.take(indices);
        Arc::new(Self { values, times })
    }

    fn scatter(self: Arc<Self>, targets: &[u32], counts: &[usize]) -> Vec<Arc<dyn Rows>> {
        let Self { values, times } = own(self);
        let part = |(times, count): (Times, &usize)| Self {
            values: Vec::with_capacity(*count),
            times,
        };
        let times = times.scatter(targets, counts).into_iter();
        let mut parts: Vec<Self> = times.zip(counts).map(part).collect();
        for (value, target) in values.into_iter().zip(targets) {
            parts[*target as usize].values.push(value);
        }
        parts.into_iter().map(|p| Arc::new(p) as Arc<dyn Rows>).collect()
    }

    fn append(self: Arc<Self>, more: Vec<Arc<dyn Rows>>) -> Result<Arc<dyn Rows>, RowsError> {
        let mut all = own(self);
        for rows in more {
            let found = rows.type_name();
            let rows = rows.into_any().downcast::<Self>().map_err(|_| RowsError::OtherType {
                expected: std::any::type_name::<T>(),
                found,
            })?;
            let Self { values, times } = own(rows);
            all.times.append(all.values.len(), times, values.len());
            all.values.extend(values);
        }
        Ok(Arc::new(all))
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), RowsError> {
        let bytes = postcard::to_extend(&(&self.times, &self.values), std::mem::take(out));
        *out = bytes.map_err(|e| RowsError::Encode {
            type_name: std::any::type_name::<T>(),
            reason: e.to_string(),
        })?;
        Ok(())
    }

    fn type_name(&self) -> &'static str {
        std::any::type_name::<T>()
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Records<(String, i64)> {
        Records {
            values: (0..5).map(|i| (format!("k{i}"), i)).collect(),
            times: (10..15).collect::<Vec<_>>().into(),
        }
    }

    #[test]
    fn what_is_encoded_comes_back_and_damaged_bytes_are_errors() {
        let mut bytes = vec![7];
        records().encode(&mut bytes).unwrap();
        assert_eq!(bytes[0], 7, "bytes are appended");
        let bytes = &bytes[1..];
        let back = Records::<(String, i64)>::decode(bytes).unwrap();
        let back = Records::<(String, i64)>::from_batch(Batch::of_rows(back)).unwrap();
        assert_eq!((back.values, back.times), (records().values, records().times));
        for cut in 0..bytes.len() {
            assert!(Records::<(String, i64)>::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert!(Records::<(String, i64)>::decode(&[bytes, &[0]].concat()).is_err());
    }

    #[test]
    fn rows_are_spread_in_order_with_their_times() {
        let parts = Batch::of_rows(Arc::new(records()))
            .with_hashes(Some(Arc::new(vec![1, 2, 3, 4, 5])))
            .scatter(&[1, 0, 1, 2, 0], 4)
            .unwrap();
        let (numbers, parts): (Vec<usize>, Vec<Batch>) = parts.into_iter().unzip();
        assert_eq!(numbers, [0, 1, 2]);
        let part = |i: usize| Records::<(String, i64)>::from_batch(parts[i].clone()).unwrap();
        assert_eq!(part(1).values, [("k0".to_owned(), 0), ("k2".to_owned(), 2)]);
        assert_eq!(part(1).times, vec![10, 12].into());
        assert_eq!(parts[0].hashes().unwrap().as_slice(), [2, 5]);
        let joined = Batch::join(parts).unwrap();
        assert_eq!(joined.num_rows(), 5);
        assert_eq!(joined.hashes().unwrap().as_slice(), [2, 5, 1, 3, 4]);
    }

    #[test]
    fn what_is_retained_keeps_its_times() {
        let mut all = records();
        all.retain(&[true; 5]);
        assert_eq!(all.values.len(), 5);
        all.retain(&[false, true, false, false, true]);
        assert_eq!(all.values, [("k1".to_owned(), 1), ("k4".to_owned(), 4)]);
        assert_eq!(all.times, vec![11, 14].into());
        let mut timeless = Records::of(vec![1, 2, 3]);
        timeless.retain(&[false, true, true]);
        assert_eq!((timeless.values, timeless.times), (vec![2, 3], Times::default()));
    }

    #[test]
    fn a_batch_is_cut_with_its_times_and_hashes() {
        let batch = Batch::of_rows(Arc::new(records())).with_hashes(Some(Arc::new(vec![1, 2, 3, 4, 5])));
        let mut pieces = batch.cut(&[2]);
        assert_eq!(pieces[1].hashes().unwrap().as_slice(), [3, 4, 5]);
        let first = Records::<(String, i64)>::from_batch(pieces.remove(0)).unwrap();
        assert_eq!(
            (first.values.as_slice(), first.times),
            (&records().values[..2], vec![10, 11].into())
        );
    }

    #[test]
    fn records_of_another_type_are_an_error_that_names_both() {
        let batch = Records::of(vec![1i64]).into_batch();
        let error = Records::<String>::from_batch(batch).unwrap_err().to_string();
        assert!(error.contains("String") && error.contains("i64"), "{error}");
    }

    #[test]
    fn only_what_two_hold_is_cloned() {
        let batch = records().into_batch();
        let text = |b: Batch| Records::<(String, i64)>::from_batch(b).unwrap().values[0].0.as_ptr();
        let kept = batch.clone();
        let copied = text(batch);
        assert_ne!(copied, text(kept.clone()), "somebody else holds it");
    }
}
