//! Elements as bytes: what an exchange between processes sends, one frame an element.
//!
//! A frame is a version (2), a kind and a body; whoever carries frames keeps their lengths. Numbers are little endian.
//!
//! | kind | element | body |
//! |---|---|---|
//! | 0 | rows | a batch in the form of [`flott_core::wire`] |
//! | 1 | watermark | time i64 |
//! | 2 | idle | u8, 0 or 1 |
//! | 3 | barrier | checkpoint u64, triggered at i64, u8: 0 goes on, 1 stops, 2 drains; overtakes from i64, the largest: never |
//! | 4 | latency marker | sent at i64 |
//! | 5 | end | u8: 0 drained, 1 stopped |
//! | 6 | typed rows | rows u32, u8: 1 if hashes follow, [hashes, 8 bytes a row], then what the type's [`flott_core::Rows`] wrote |
//!
//! Frames of rows lie in checkpoints too ([`super::in_flight`]).

use crate::element::{AfterBarrier, Barrier, Element, EndOfInput};
use crate::error::{FailureLabel, TaskError};
use arrow_schema::DataType;
use flott_core::rows::DecodeRows;
use flott_core::wire::{decode_batch, encode_batch};
use flott_core::{Batch, Rows};
use std::sync::Arc;

/// Version of the frames that this build writes and reads.
const FRAME_VERSION: u8 = 2;

const DATA: u8 = 0;
const WATERMARK: u8 = 1;
const IDLE: u8 = 2;
const BARRIER: u8 = 3;
const LATENCY_MARKER: u8 = 4;
const END: u8 = 5;
const TYPED: u8 = 6;

/// What the rows of a channel are, so that frames can be read.
#[derive(Debug, Clone)]
pub enum RowsForm {
    /// Columns of these types.
    Columns(Arc<[DataType]>),
    /// Rows of a type.
    Typed(DecodeRows),
}

/// The frame of an element.
///
/// # Errors
/// If a column's type cannot leave the process.
pub fn encode(element: &Element) -> Result<Vec<u8>, TaskError> {
    let mut frame = vec![FRAME_VERSION];
    match element {
        Element::Data(batch) | Element::Side(_, batch) => match batch.typed() {
            Some(rows) => encode_typed(batch, rows.as_ref(), &mut frame)?,
            None => {
                frame.push(DATA);
                encode_batch(batch, &mut frame)
                    .map_err(|e| TaskError::caused(FailureLabel::Internal, "rows cannot be sent", e).fatal())?;
            }
        },
        Element::Watermark(time) => put(&mut frame, WATERMARK, &time.to_le_bytes()),
        Element::Idle(idle) => put(&mut frame, IDLE, &[u8::from(*idle)]),
        Element::Barrier(barrier) => {
            put(&mut frame, BARRIER, &barrier.checkpoint.to_le_bytes());
            frame.extend_from_slice(&barrier.triggered_ms.to_le_bytes());
            frame.push(match barrier.then {
                AfterBarrier::Continue => 0,
                AfterBarrier::Stop => 1,
                AfterBarrier::Drain => 2,
            });
            let from_ms = barrier.overtakes_from_ms.unwrap_or(i64::MAX);
            frame.extend_from_slice(&from_ms.to_le_bytes());
        }
        Element::LatencyMarker(sent_ms) => put(&mut frame, LATENCY_MARKER, &sent_ms.to_le_bytes()),
        Element::End(end) => put(&mut frame, END, &[u8::from(*end == EndOfInput::Stopped)]),
    }
    Ok(frame)
}

fn put(frame: &mut Vec<u8>, kind: u8, body: &[u8]) {
    frame.push(kind);
    frame.extend_from_slice(body);
}

fn encode_typed(batch: &Batch, rows: &dyn Rows, frame: &mut Vec<u8>) -> Result<(), TaskError> {
    put(frame, TYPED, &(rows.len() as u32).to_le_bytes());
    frame.push(u8::from(batch.hashes().is_some()));
    for hash in batch.hashes().iter().flat_map(|h| h.iter()) {
        frame.extend_from_slice(&hash.to_le_bytes());
    }
    rows.encode(frame)
        .map_err(|e| TaskError::caused(FailureLabel::User, "records cannot be sent", e).fatal())
}

fn decode_typed(frame: &[u8], body: &[u8], read: DecodeRows) -> Result<Batch, TaskError> {
    let Some((head, rest)) = body.split_at_checked(5) else {
        return Err(damaged(frame));
    };
    let count = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let (hashes, rest) = match head[4] {
        0 => (None, rest),
        1 => {
            let (hashes, rest) = count
                .checked_mul(8)
                .and_then(|bytes| rest.split_at_checked(bytes))
                .ok_or_else(|| damaged(frame))?;
            let (hashes, _) = hashes.as_chunks::<8>();
            (Some(hashes.iter().map(|h| u64::from_le_bytes(*h)).collect()), rest)
        }
        _ => return Err(damaged(frame)),
    };
    let rows = read(rest)
        .map_err(|e| TaskError::caused(FailureLabel::Internal, "records from another task cannot be read", e))?;
    match rows.len() == count {
        true => Ok(Batch::of_rows(rows).with_hashes(hashes.map(Arc::new))),
        false => Err(damaged(frame)),
    }
}

/// The element of a frame, whose rows have this form.
///
/// # Errors
/// If the bytes are no frame of this version, or rows have another form.
pub fn decode(frame: &[u8], form: &RowsForm) -> Result<Element, TaskError> {
    let [version, kind, body @ ..] = frame else {
        return Err(damaged(frame));
    };
    if *version != FRAME_VERSION {
        return Err(TaskError::internal(format!(
            "an exchange got a frame of version {version}, this build reads {FRAME_VERSION}: run the same build everywhere"
        ))
        .fatal());
    }
    let number = |bytes: &[u8]| bytes.try_into().map(i64::from_le_bytes).map_err(|_| damaged(frame));
    let flag = |bytes: &[u8]| match bytes {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(damaged(frame)),
    };
    Ok(match *kind {
        DATA => {
            let types: &[DataType] = match form {
                RowsForm::Columns(types) => types,
                RowsForm::Typed(_) => return Err(damaged(frame)),
            };
            let batch = decode_batch(body, types)
                .map_err(|e| TaskError::caused(FailureLabel::Internal, "rows from another task cannot be read", e))?;
            Element::Data(batch)
        }
        TYPED => match form {
            RowsForm::Typed(read) => Element::Data(decode_typed(frame, body, *read)?),
            RowsForm::Columns(_) => return Err(damaged(frame)),
        },
        WATERMARK => Element::Watermark(number(body)?),
        IDLE => Element::Idle(flag(body)?),
        BARRIER => Element::Barrier(barrier(frame).ok_or_else(|| damaged(frame))?),
        LATENCY_MARKER => Element::LatencyMarker(number(body)?),
        END => Element::End(match flag(body)? {
            false => EndOfInput::Drained,
            true => EndOfInput::Stopped,
        }),
        _ => return Err(damaged(frame)),
    })
}

/// The barrier, if a frame is one; looks at nothing else.
pub(super) fn barrier(frame: &[u8]) -> Option<Barrier> {
    let [FRAME_VERSION, BARRIER, body @ ..] = frame else {
        return None;
    };
    let (checkpoint, rest) = body.split_first_chunk()?;
    let (triggered_ms, rest) = rest.split_first_chunk()?;
    let ([then], rest) = rest.split_first_chunk()?;
    let from_ms = i64::from_le_bytes(rest.try_into().ok()?);
    Some(Barrier {
        checkpoint: u64::from_le_bytes(*checkpoint),
        triggered_ms: i64::from_le_bytes(*triggered_ms),
        then: match then {
            0 => AfterBarrier::Continue,
            1 => AfterBarrier::Stop,
            2 => AfterBarrier::Drain,
            _ => return None,
        },
        overtakes_from_ms: (from_ms < i64::MAX).then_some(from_ms),
    })
}

/// Whether a frame holds rows; looks at nothing else.
pub(super) fn has_rows(frame: &[u8]) -> bool {
    matches!(frame, [_, DATA | TYPED, ..])
}

/// Whether a frame is the end of its channel; looks at nothing else.
pub(super) fn is_end(frame: &[u8]) -> bool {
    matches!(frame, [_, END, ..])
}

fn damaged(frame: &[u8]) -> TaskError {
    let head = &frame[..frame.len().min(20)];
    TaskError::internal(format!(
        "a frame of {} bytes from another task is damaged; it begins with {head:?}",
        frame.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Int64Array;

    fn numbers() -> RowsForm {
        RowsForm::Columns(Arc::new([DataType::Int64]))
    }

    fn barrier(then: AfterBarrier, overtakes_from_ms: Option<i64>) -> Element {
        Element::Barrier(Barrier {
            checkpoint: 0x0102,
            triggered_ms: -1,
            then,
            overtakes_from_ms,
        })
    }

    fn all() -> Vec<Element> {
        vec![
            Element::Data(Batch::new(vec![Arc::new(Int64Array::from(vec![Some(5), None]))], 2)),
            Element::Watermark(-7),
            Element::Watermark(i64::MAX),
            Element::Idle(true),
            Element::Idle(false),
            barrier(AfterBarrier::Continue, None),
            barrier(AfterBarrier::Continue, Some(i64::MIN)),
            barrier(AfterBarrier::Stop, None),
            barrier(AfterBarrier::Drain, Some(7)),
            Element::LatencyMarker(99),
            Element::End(EndOfInput::Drained),
            Element::End(EndOfInput::Stopped),
        ]
    }

    #[test]
    fn every_element_comes_back() {
        for element in all() {
            let frame = encode(&element).unwrap();
            let back = decode(&frame, &numbers()).unwrap();
            assert_eq!(format!("{back:?}"), format!("{element:?}"));
            assert_eq!(is_end(&frame), matches!(element, Element::End(_)));
            assert_eq!(has_rows(&frame), matches!(element, Element::Data(_)));
            assert_eq!(super::barrier(&frame).is_some(), matches!(element, Element::Barrier(_)));
        }
    }

    #[test]
    fn frames_are_a_format() {
        assert_eq!(
            encode(&barrier(AfterBarrier::Stop, Some(5))).unwrap(),
            [
                2, 3, 2, 1, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 1, 5, 0, 0, 0, 0, 0, 0, 0
            ]
        );
        assert_eq!(encode(&barrier(AfterBarrier::Drain, None)).unwrap()[18..20], [2, 255]);
        assert_eq!(
            encode(&Element::Watermark(258)).unwrap(),
            [2, 1, 2, 1, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(encode(&Element::End(EndOfInput::Stopped)).unwrap(), [2, 5, 1]);
        assert_eq!(encode(&Element::Idle(true)).unwrap(), [2, 2, 1]);
        assert_eq!(encode(&Element::LatencyMarker(0)).unwrap()[..2], [2, 4]);
        assert_eq!(encode(&all()[0]).unwrap()[..4], [2, 0, 1, 0]);
    }

    #[test]
    fn damaged_frames_are_errors() {
        let types = numbers();
        for element in all() {
            let frame = encode(&element).unwrap();
            for cut in 0..frame.len() {
                assert!(decode(&frame[..cut], &types).is_err(), "{element:?} cut at {cut}");
            }
            assert!(decode(&[&frame[..], &[0]].concat(), &types).is_err(), "{element:?}");
            for at in 0..frame.len() {
                for byte in [0, 1, 2, 6, 0x80, 0xff] {
                    let mut changed = frame.clone();
                    changed[at] = byte;
                    let _ = decode(&changed, &types);
                }
            }
        }
        let error = decode(&[9, 1], &types).unwrap_err().to_string();
        assert!(error.contains("version 9"), "{error}");
    }
}
