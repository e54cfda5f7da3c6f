//! Rows in flight: what a checkpoint keeps of the way between two chains where its barrier has overtaken rows.
//!
//! ```text
//!  writer          queue to another process  ──►  queue of the reader  ──►  what its chain has not begun
//!  records              the first                          the other two
//! ```
//! A reader's record begins with the watermark that its chain was told, and goes on in the order in which the chain would have met the
//! rows. What a writer recorded is behind that. Within a process there is one queue, so the reader records all.
//!
//! **Time.** Watermarks on the way are left out: their sources go on from later ones. What the chain had been told is kept, so a restored
//! row is late exactly where windows have fired without it, and never elsewhere. Where records of several subtasks are put together,
//! they are ordered by that watermark for the same reason.
//!
//! **Format**, version 1, little endian: a version u8, then entries `[kind u8][input u32][length u32][bytes]`. Kind 0 is a watermark, an
//! i64; 1, 2 and 3 are rows, a frame of [`super::frame`], by their [`Spread`]: by key group, to any subtask, to the first.

use super::frame::{self, RowsForm};
use crate::element::Element;
use crate::error::{FailureLabel, TaskError};
use bytes::Bytes;
use flott_core::key_group::{key_group_of, subtask_of};
use flott_core::time::{EventTime, NO_WATERMARK};
use flott_core::{Batch, OperatorId};
use flott_plan::Partitioning;
use flott_state::{InFlightBytes, InFlightPlace, RestoredInFlight};
use std::collections::{BTreeMap, BTreeSet};

const VERSION: u8 = 1;
const WATERMARK: u8 = 0;
const HEAD_BYTES: usize = 9;

/// Which subtask gets a row in flight at another parallelism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// The owner of its key group.
    KeyGroup = 1,
    /// Any, with all rows of its batch.
    Any = 2,
    /// The first.
    First = 3,
}

impl Spread {
    /// How rows of an exchange find new subtasks; `None`: nobody can tell, or each subtask has copies that it has come to a different place
    /// of, so barriers of such exchanges never overtake. Those are Flink's too, and a program's own partitioner.
    pub fn of(partitioning: &Partitioning) -> Option<Self> {
        match partitioning {
            Partitioning::Hash { .. } | Partitioning::Keyed => Some(Self::KeyGroup),
            Partitioning::Rebalance | Partitioning::Shuffle => Some(Self::Any),
            Partitioning::Global => Some(Self::First),
            Partitioning::Forward | Partitioning::Rescale | Partitioning::Broadcast | Partitioning::Custom => None,
        }
    }

    fn of_kind(kind: u8) -> Option<Self> {
        [Self::KeyGroup, Self::Any, Self::First]
            .into_iter()
            .find(|spread| *spread as u8 == kind)
    }
}

/// Rows as a queue holds them.
#[derive(Debug, Clone)]
pub enum Held {
    /// As they are.
    Batch(Batch),
    /// As a frame.
    Frame(Bytes),
}

/// One entry of a record.
#[derive(Debug, Clone)]
pub enum Recorded {
    /// The chain was told this watermark before the rows that follow.
    Watermark(EventTime),
    /// Rows that the chain had not begun.
    Rows {
        /// Their logical input.
        input: usize,
        /// Where they go at another parallelism.
        spread: Spread,
        /// The rows.
        rows: Held,
    },
}

/// What one subtask recorded of the rows on their way to one subtask.
#[derive(Debug)]
pub struct InFlight {
    /// The first operator of the chain to which they were on their way.
    pub operator: OperatorId,
    /// Its subtask.
    pub subtask: usize,
    /// Who recorded them.
    pub place: InFlightPlace,
    /// In order.
    pub recorded: Vec<Recorded>,
}

impl InFlight {
    /// Whether there are rows.
    pub fn has_rows(&self) -> bool {
        self.recorded.iter().any(|r| matches!(r, Recorded::Rows { .. }))
    }

    /// The record as bytes: CPU work.
    ///
    /// # Errors
    /// If rows cannot be written.
    pub fn encode(self) -> Result<InFlightBytes, TaskError> {
        let mut bytes = vec![VERSION];
        for entry in self.recorded {
            match entry {
                Recorded::Watermark(time) => put(&mut bytes, WATERMARK, 0, &time.to_le_bytes()),
                Recorded::Rows { input, spread, rows } => {
                    let frame = match rows {
                        Held::Frame(frame) => frame,
                        Held::Batch(batch) => frame::encode(&Element::Data(batch))?.into(),
                    };
                    put(&mut bytes, spread as u8, input, &frame);
                }
            }
        }
        Ok(InFlightBytes {
            operator: self.operator,
            subtask: self.subtask,
            place: self.place,
            bytes: bytes.into(),
        })
    }
}

fn put(out: &mut Vec<u8>, kind: u8, input: usize, body: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&(input as u32).to_le_bytes());
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    out.extend_from_slice(body);
}

/// Who is to process rows in flight.
#[derive(Debug)]
pub struct NewReader<'a> {
    /// The subtask.
    pub subtask: usize,
    /// How many there are now.
    pub parallelism: usize,
    /// Number of key groups.
    pub max_parallelism: usize,
    /// What the rows of each logical input are.
    pub forms: &'a BTreeMap<usize, RowsForm>,
    /// Whether at another parallelism it may be told the time of any reader before: all its rows come over exchanges from which each of those got
    /// the same. A split of a source knows no other's time, and what another subtask was told would make its rows late.
    pub shares_time: bool,
}

/// Rows of one input that follow one watermark.
struct Segment {
    watermark: EventTime,
    rows: Vec<(usize, Spread, Batch)>,
}

impl NewReader<'_> {
    /// What the subtask processes before anything new: its part of what was recorded, each row for one subtask of all.
    ///
    /// # Errors
    /// If the bytes are no record of this version, or hold rows that the job's exchange does not have.
    pub fn rows_of(&self, parts: &[RestoredInFlight]) -> Result<Vec<Recorded>, TaskError> {
        let mut segments = vec![];
        let readers: BTreeSet<usize> = parts.iter().map(|part| part.subtask).collect();
        for reader in readers {
            let mut of_reader = vec![];
            let mut watermark = NO_WATERMARK;
            let is_its = |place| move |part: &&RestoredInFlight| part.subtask == reader && part.place == place;
            let inputs = parts.iter().filter(is_its(InFlightPlace::Input));
            for part in inputs.chain(parts.iter().filter(is_its(InFlightPlace::Output))) {
                self.read(&part.bytes, &mut watermark, &mut of_reader)?;
            }
            if parts.iter().any(|part| part.parallelism != self.parallelism) {
                self.keep_own(reader, &mut of_reader)?;
            }
            segments.extend(of_reader);
        }
        segments.sort_by_key(|segment| segment.watermark);
        segments.retain(|segment| !segment.rows.is_empty());
        let tells_time = self.shares_time || parts.iter().all(|part| part.parallelism == self.parallelism);
        let entries = segments.into_iter().flat_map(|segment| {
            let rows = segment.rows.into_iter().map(|(input, spread, batch)| Recorded::Rows {
                input,
                spread,
                rows: Held::Batch(batch),
            });
            let time = tells_time.then_some(Recorded::Watermark(segment.watermark));
            time.into_iter().chain(rows)
        });
        Ok(entries.collect())
    }

    /// Reads a record behind `segments`, whose last watermark is `watermark`.
    fn read(&self, record: &Bytes, watermark: &mut EventTime, segments: &mut Vec<Segment>) -> Result<(), TaskError> {
        let Some((&VERSION, mut rest)) = record.split_first() else {
            return Err(damaged("it is of another version"));
        };
        segments.push(Segment {
            watermark: *watermark,
            rows: vec![],
        });
        while !rest.is_empty() {
            let (kind, input, body, after) = entry(rest).ok_or_else(|| damaged("it has been cut off"))?;
            rest = after;
            if kind == WATERMARK {
                let time = body.try_into().map_err(|_| damaged("a watermark is no number"))?;
                *watermark = i64::from_le_bytes(time);
                segments.push(Segment {
                    watermark: *watermark,
                    rows: vec![],
                });
                continue;
            }
            let spread = Spread::of_kind(kind).ok_or_else(|| damaged("an entry is of no known kind"))?;
            let batch = self.batch(input, body)?;
            if let Some(segment) = segments.last_mut() {
                segment.rows.push((input, spread, batch));
            }
        }
        Ok(())
    }

    fn batch(&self, input: usize, frame: &[u8]) -> Result<Batch, TaskError> {
        let changed = "the rows in flight of the checkpoint do not fit the job: start a job that has changed from a savepoint, which \
                       holds none";
        let form = self
            .forms
            .get(&input)
            .ok_or_else(|| TaskError::user(format!("{changed}; there is no input {input}")).fatal())?;
        match frame::decode(frame, form) {
            Ok(Element::Data(batch)) => Ok(batch),
            Ok(_) => Err(damaged("a frame holds no rows")),
            Err(error) => Err(TaskError::caused(FailureLabel::User, changed, error).fatal()),
        }
    }

    /// Leaves of what was on its way to `reader` what this subtask processes.
    fn keep_own(&self, reader: usize, segments: &mut [Segment]) -> Result<(), TaskError> {
        let mut turn = reader;
        for segment in segments {
            let mut own = vec![];
            for (input, spread, batch) in segment.rows.drain(..) {
                match spread {
                    Spread::First if self.subtask != 0 => {}
                    Spread::First => own.push((input, spread, batch)),
                    Spread::Any => {
                        if turn % self.parallelism == self.subtask {
                            own.push((input, spread, batch));
                        }
                        turn += 1;
                    }
                    Spread::KeyGroup => own.extend(self.of_own_keys(batch)?.map(|batch| (input, spread, batch))),
                }
            }
            segment.rows = own;
        }
        Ok(())
    }

    fn of_own_keys(&self, batch: Batch) -> Result<Option<Batch>, TaskError> {
        let hashes = batch
            .hashes()
            .ok_or_else(|| damaged("rows of a keyed exchange have no hashes"))?;
        let groups = self.max_parallelism;
        let owner = |hash: &u64| subtask_of(key_group_of(*hash, groups), groups, self.parallelism) as u32;
        let owners: Vec<u32> = hashes.iter().map(owner).collect();
        let parts = batch.scatter(&owners, self.parallelism)?;
        let mut own = parts.into_iter().filter(|(subtask, _)| *subtask == self.subtask);
        Ok(own.next().map(|(_, batch)| batch))
    }
}

/// Kind, input and bytes of the first entry, and what follows.
fn entry(bytes: &[u8]) -> Option<(u8, usize, &[u8], &[u8])> {
    let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
    let number = |at: usize| head[at..at + 4].try_into().map(u32::from_le_bytes).ok();
    let (body, rest) = rest.split_at_checked(number(5)? as usize)?;
    Some((head[0], number(1)? as usize, body, rest))
}

fn damaged(problem: &str) -> TaskError {
    TaskError::internal(format!("a record of rows in flight cannot be read: {problem}")).fatal()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use arrow_array::{ArrayRef, Int64Array};
    use arrow_schema::DataType;
    use flott_core::hash::hash_columns;
    use std::sync::Arc;

    fn rows(values: impl IntoIterator<Item = i64>, spread: Spread) -> Recorded {
        let column: ArrayRef = Arc::new(values.into_iter().collect::<Int64Array>());
        let hashes = hash_columns(std::slice::from_ref(&column), column.len()).unwrap();
        let rows = column.len();
        let batch = Batch::new(vec![column], rows).with_hashes(Some(Arc::new(hashes)));
        Recorded::Rows {
            input: 0,
            spread,
            rows: Held::Batch(batch),
        }
    }

    fn part(subtask: usize, place: InFlightPlace, recorded: Vec<Recorded>) -> RestoredInFlight {
        let operator = OperatorId(1);
        let encoded = InFlight {
            operator,
            subtask,
            place,
            recorded,
        }
        .encode()
        .unwrap();
        RestoredInFlight {
            subtask,
            parallelism: 2,
            place,
            bytes: encoded.bytes,
        }
    }

    /// What a subtask of so many gets, as text.
    fn restored(parts: &[RestoredInFlight], subtask: usize, parallelism: usize) -> Vec<String> {
        restored_where(parts, subtask, parallelism, true)
    }

    fn restored_where(
        parts: &[RestoredInFlight],
        subtask: usize,
        parallelism: usize,
        shares_time: bool,
    ) -> Vec<String> {
        let forms = BTreeMap::from([(0, RowsForm::Columns(Arc::new([DataType::Int64])))]);
        let reader = NewReader {
            subtask,
            parallelism,
            max_parallelism: 128,
            forms: &forms,
            shares_time,
        };
        let text = |entry| match entry {
            Recorded::Watermark(time) => format!("wm {time}"),
            Recorded::Rows {
                rows: Held::Batch(batch),
                ..
            } => format!("{:?}", batch.column(0).as_primitive::<Int64Type>().values().to_vec()),
            other => panic!("{other:?}"),
        };
        reader.rows_of(parts).unwrap().into_iter().map(text).collect()
    }

    #[test]
    fn the_same_subtask_gets_all_in_order_what_writers_recorded_last() {
        let parts = [
            part(1, InFlightPlace::Output, vec![rows([3], Spread::KeyGroup)]),
            part(
                1,
                InFlightPlace::Input,
                vec![
                    Recorded::Watermark(5),
                    rows([1], Spread::KeyGroup),
                    rows([2], Spread::Any),
                ],
            ),
        ];
        assert_eq!(restored(&parts, 1, 2), ["wm 5", "[1]", "[2]", "wm 5", "[3]"]);
    }

    #[test]
    fn the_splits_of_one_subtask_are_not_told_the_time_of_another() {
        let of = |subtask, time, row| {
            let recorded = vec![Recorded::Watermark(time), rows([row], Spread::Any)];
            part(subtask, InFlightPlace::Input, recorded)
        };
        let parts = [of(0, 20, 1), of(1, 10, 2)];
        assert_eq!(restored_where(&parts, 0, 1, false), ["[2]", "[1]"]);
        assert_eq!(restored_where(&parts, 0, 1, true), ["wm 10", "[2]", "wm 20", "[1]"]);
        assert_eq!(
            restored_where(&parts[1..], 1, 2, false),
            ["wm 10", "[2]"],
            "its own time"
        );
    }

    #[test]
    fn at_another_parallelism_each_row_goes_to_one_subtask_in_the_order_of_the_watermarks() {
        let parts = [
            part(
                0,
                InFlightPlace::Input,
                vec![
                    Recorded::Watermark(20),
                    rows(0..100, Spread::KeyGroup),
                    rows([1000], Spread::Any),
                    rows([2000], Spread::Any),
                ],
            ),
            part(
                1,
                InFlightPlace::Input,
                vec![
                    Recorded::Watermark(10),
                    rows(100..200, Spread::KeyGroup),
                    rows([3000], Spread::First),
                ],
            ),
        ];
        let of_three: Vec<Vec<String>> = (0..3).map(|subtask| restored(&parts, subtask, 3)).collect();
        let mut all = vec![];
        for (subtask, texts) in of_three.iter().enumerate() {
            let times: Vec<&String> = texts.iter().filter(|t| t.starts_with("wm")).collect();
            assert_eq!(times, ["wm 10", "wm 20"], "subtask {subtask}");
            for list in texts.iter().filter(|t| t.starts_with('[')) {
                let values = list.trim_matches(['[', ']']).split(", ").map(|v| v.parse().unwrap());
                all.extend(values.map(|value: i64| (value, subtask)));
            }
        }
        all.sort_unstable();
        let values: Vec<i64> = all.iter().map(|(value, _)| *value).collect();
        assert_eq!(values, (0..200).chain([1000, 2000, 3000]).collect::<Vec<_>>());
        assert_eq!(all.last(), Some(&(3000, 0)));
    }

    #[test]
    fn a_damaged_record_is_an_error() {
        let whole = part(
            0,
            InFlightPlace::Input,
            vec![Recorded::Watermark(1), rows([1], Spread::Any)],
        );
        let forms = BTreeMap::new();
        let reader = NewReader {
            subtask: 0,
            parallelism: 2,
            max_parallelism: 128,
            forms: &forms,
            shares_time: true,
        };
        let error = reader.rows_of(std::slice::from_ref(&whole)).unwrap_err().full_text();
        assert!(error.contains("savepoint"), "{error}");
        for bytes in [whole.bytes.slice(..whole.bytes.len() - 1), Bytes::from_static(&[9])] {
            let cut = RestoredInFlight { bytes, ..whole.clone() };
            assert!(reader.rows_of(&[cut]).is_err());
        }
    }
}
