use super::*;
use crate::Batch;
use crate::encoding::tests::every_type;
use arrow_array::*;
use arrow_schema::DataType;
use std::sync::Arc;

fn bytes_of(batch: &Batch) -> Vec<u8> {
    let mut bytes = vec![];
    encode_batch(batch, &mut bytes).unwrap();
    bytes
}

fn types_of(batch: &Batch) -> Vec<DataType> {
    batch.columns().iter().map(|c| c.data_type().clone()).collect()
}

/// Three rows of every type, with NULLs, kinds and hashes.
fn everything() -> Batch {
    let (_, columns) = every_type();
    Batch::new(columns, 3)
        .with_kinds(Some(vec![0, 1, 3].into()))
        .with_hashes(Some(Arc::new(vec![7, u64::MAX, 0])))
}

fn assert_same(found: &Batch, expected: &Batch) {
    assert_eq!(found.num_rows(), expected.num_rows());
    assert_eq!(found.columns(), expected.columns());
    assert_eq!(found.kinds(), expected.kinds());
    assert_eq!(found.hashes(), expected.hashes());
}

#[test]
fn vectors_of_version_1() {
    let batch = Batch::new(
        vec![
            Arc::new(Int16Array::from(vec![Some(1), None, Some(-2)])),
            Arc::new(StringArray::from(vec!["", "aß", "c"])),
        ],
        3,
    )
    .with_kinds(Some(vec![0, 1, 2].into()));
    let head = [1, 0, 1, 2, 0, 0, 0, 3, 0, 0, 0, 0, 1, 2];
    let numbers = [3, 1, 0b101, 1, 0, 0, 0, 0xfe, 0xff];
    let strings = [14, 0, 0, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, b'a', 0xc3, 0x9f, b'c'];
    assert_eq!(bytes_of(&batch), [&head[..], &numbers, &strings].concat());
    let hashed =
        Batch::new(vec![Arc::new(BooleanArray::from(vec![true]))], 1).with_hashes(Some(Arc::new(vec![0x0102])));
    assert_eq!(
        bytes_of(&hashed),
        [1, 0, 2, 1, 0, 0, 0, 1, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1]
    );
    let mut decimal = vec![1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 8, 0, 20, 2, 5];
    decimal.extend([0; 15]);
    let value = Decimal128Array::from(vec![5]).with_precision_and_scale(20, 2).unwrap();
    assert_eq!(bytes_of(&Batch::new(vec![Arc::new(value)], 1)), decimal);
}

#[test]
fn every_type_comes_back_whole_and_in_slices() {
    let batch = everything();
    let types = types_of(&batch);
    for offset in 0..3 {
        for length in 0..=3 - offset {
            let slice = batch.slice(offset, length);
            assert_same(&decode_batch(&bytes_of(&slice), &types).unwrap(), &slice);
        }
    }
    let (logical, _) = every_type();
    let planned: Vec<DataType> = logical.iter().map(|t| t.to_arrow()).collect();
    assert_eq!(types, planned, "a plan's types are those of the columns");
}

#[test]
fn a_batch_without_columns_keeps_its_rows() {
    let batch = Batch::new(vec![], 5).with_kinds(Some(vec![3; 5].into()));
    assert_same(&decode_batch(&bytes_of(&batch), &[]).unwrap(), &batch);
}

#[test]
fn many_rows_come_back() {
    let numbers: Int64Array = (0..10_000).map(|n| (n % 3 > 0).then_some(n)).collect();
    let texts: StringArray = (0..10_000).map(|n| (n % 7 > 0).then(|| "x".repeat(n % 20))).collect();
    let batch = Batch::new(vec![Arc::new(numbers), Arc::new(texts)], 10_000).slice(13, 9_001);
    assert_same(&decode_batch(&bytes_of(&batch), &types_of(&batch)).unwrap(), &batch);
}

#[test]
fn ends_that_disagree_say_so() {
    let bytes = bytes_of(&Batch::new(vec![Arc::new(Int64Array::from(vec![1]))], 1));
    assert_eq!(
        decode_batch(&bytes, &[]).unwrap_err(),
        WireError::Columns { found: 1, expected: 0 }
    );
    let error = decode_batch(&bytes, &[DataType::Utf8]).unwrap_err();
    assert!(
        error.to_string().contains("column 0") && error.to_string().contains("Utf8"),
        "{error}"
    );
    let decimal = Decimal128Array::from(vec![5]).with_precision_and_scale(20, 2).unwrap();
    let bytes = bytes_of(&Batch::new(vec![Arc::new(decimal)], 1));
    let error = decode_batch(&bytes, &[DataType::Decimal128(20, 3)]).unwrap_err();
    assert!(error.to_string().contains("DECIMAL(20, 2)"), "{error}");
    let newer = [&[2, 0][..], &bytes[2..]].concat();
    assert_eq!(decode_batch(&newer, &[]).unwrap_err(), WireError::Version { found: 2 });
    let unsigned = Batch::new(vec![Arc::new(UInt8Array::from(vec![1]))], 1);
    let mut out = vec![];
    let error = encode_batch(&unsigned, &mut out).unwrap_err();
    assert!(matches!(error, WireError::UnsupportedType { column: 0, .. }), "{error}");
}

#[test]
fn cut_off_and_longer_bytes_are_errors() {
    let batch = everything();
    let (types, bytes) = (types_of(&batch), bytes_of(&batch));
    for cut in 0..bytes.len() {
        assert!(decode_batch(&bytes[..cut], &types).is_err(), "cut at {cut}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(decode_batch(&longer, &types).unwrap_err(), WireError::TrailingBytes(1));
}

#[test]
fn damaged_bytes_are_errors_or_another_batch_and_never_panics() {
    let batch = everything();
    let (types, bytes) = (types_of(&batch), bytes_of(&batch));
    let mut refused = 0;
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize % below
    };
    for _ in 0..20_000 {
        let mut changed = bytes.clone();
        for _ in 0..=next(3) {
            let at = next(changed.len());
            changed[at] = [0, 1, 0x7f, 0x80, 0xff, next(256) as u8][next(6)];
        }
        match decode_batch(&changed, &types) {
            // What is accepted is a batch that can be written again.
            Ok(other) => drop(bytes_of(&other)),
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
        }
    }
    assert!(refused > 1_000, "only {refused} of 20,000 were refused");
}
