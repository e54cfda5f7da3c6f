use super::*;
use crate::types::{Field, LogicalType, TypeKind};
use arrow_array::builder::{Int32Builder, ListBuilder, MapBuilder, StringBuilder};
use arrow_array::*;
use std::sync::Arc;

fn bytes_of(column: ArrayRef) -> Vec<Vec<u8>> {
    let rows = column.len();
    encode_rows(&[column], rows)
        .unwrap()
        .iter()
        .map(<[u8]>::to_vec)
        .collect()
}

#[test]
fn vectors_of_version_1() {
    assert_eq!(
        bytes_of(Arc::new(Int64Array::from(vec![Some(1), None, Some(-2)]))),
        [
            vec![1, 1, 0, 0, 0, 0, 0, 0, 0],
            vec![0],
            vec![1, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]
        ]
    );
    assert_eq!(
        bytes_of(Arc::new(StringArray::from(vec!["", "aß"]))),
        [vec![1, 0, 0, 0, 0], vec![1, 3, 0, 0, 0, b'a', 0xc3, 0x9f]]
    );
    assert_eq!(
        bytes_of(Arc::new(BooleanArray::from(vec![true, false]))),
        [vec![1, 1], vec![1, 0]]
    );
    assert_eq!(
        bytes_of(Arc::new(Float64Array::from(vec![1.5]))),
        [vec![1, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f]]
    );
    let mut list = ListBuilder::new(Int32Builder::new());
    list.append_value([Some(7), None]);
    assert_eq!(
        bytes_of(Arc::new(list.finish())),
        [vec![1, 2, 0, 0, 0, 1, 7, 0, 0, 0, 0]]
    );
}

#[test]
fn equal_keys_have_equal_bytes() {
    let keys: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN]));
    let mut rows = EncodedRows::default();
    rows.refill(&RowEncoder::of_keys(std::slice::from_ref(&keys)).unwrap(), 4);
    assert_eq!(rows.row(2), rows.row(3));
    assert_ne!(rows.row(0), rows.row(1));
    let hashes = crate::hash::hash_columns(std::slice::from_ref(&keys), 4).unwrap();
    assert_eq!(hashes[2], hashes[3]);
    assert_ne!(hashes[0], hashes[1]);
    let values = encode_rows(&[keys], 4).unwrap();
    assert_ne!(values.row(0), values.row(1));
}

/// Three rows of every type, the second NULL.
pub(crate) fn every_type() -> (Vec<LogicalType>, Vec<ArrayRef>) {
    let n = LogicalType::new;
    let inner = vec![
        Field::new("x", n(TypeKind::Int)),
        Field::new("y", LogicalType::string()),
    ];
    let mut list = ListBuilder::new(StringBuilder::new());
    list.append_value([Some("p"), None]);
    list.append_null();
    list.append_value::<[Option<&str>; 0], &str>([]);
    let names = arrow_array::builder::MapFieldNames {
        entry: "entries".to_owned(),
        key: "key".to_owned(),
        value: "value".to_owned(),
    };
    let mut map = MapBuilder::new(Some(names), StringBuilder::new(), Int32Builder::new());
    map.keys().append_value("k");
    map.values().append_null();
    map.append(true).unwrap();
    map.append(false).unwrap();
    map.append(true).unwrap();
    let row_type = n(TypeKind::Row(inner));
    let arrow_schema::DataType::Struct(fields) = row_type.to_arrow() else {
        unreachable!()
    };
    let row = StructArray::new(
        fields,
        vec![
            Arc::new(Int32Array::from(vec![Some(1), None, None])),
            Arc::new(StringArray::from(vec![Some("a"), None, None])),
        ],
        Some(vec![true, false, true].into()),
    );
    let list: ArrayRef = {
        let (_, offsets, values, nulls) = list.finish().into_parts();
        let element = Arc::new(arrow_schema::Field::new("element", arrow_schema::DataType::Utf8, true));
        Arc::new(ListArray::new(element, offsets, values, nulls))
    };
    let columns: Vec<(TypeKind, ArrayRef)> = vec![
        (TypeKind::Null, Arc::new(NullArray::new(3))),
        (
            TypeKind::Boolean,
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
        ),
        (
            TypeKind::TinyInt,
            Arc::new(Int8Array::from(vec![Some(-1), None, Some(2)])),
        ),
        (
            TypeKind::SmallInt,
            Arc::new(Int16Array::from(vec![Some(-1), None, Some(2)])),
        ),
        (TypeKind::Int, Arc::new(Int32Array::from(vec![Some(-1), None, Some(2)]))),
        (
            TypeKind::BigInt,
            Arc::new(Int64Array::from(vec![Some(-1), None, Some(i64::MAX)])),
        ),
        (
            TypeKind::Float,
            Arc::new(Float32Array::from(vec![Some(-0.0), None, Some(2.5)])),
        ),
        (
            TypeKind::Double,
            Arc::new(Float64Array::from(vec![Some(-1.25), None, Some(2.0)])),
        ),
        (
            TypeKind::Decimal(20, 2),
            Arc::new(
                Decimal128Array::from(vec![Some(-12345), None, Some(i128::from(i64::MAX) * 3)])
                    .with_precision_and_scale(20, 2)
                    .unwrap(),
            ),
        ),
        (
            TypeKind::Char(1),
            Arc::new(StringArray::from(vec![Some("ß"), None, Some("")])),
        ),
        (
            TypeKind::Varbinary(9),
            Arc::new(BinaryArray::from(vec![Some(&b"\xff"[..]), None, Some(b"")])),
        ),
        (
            TypeKind::Date,
            Arc::new(Date32Array::from(vec![Some(-1), None, Some(20_000)])),
        ),
        (
            TypeKind::Time(3),
            Arc::new(Time32MillisecondArray::from(vec![Some(1), None, Some(2)])),
        ),
        (
            TypeKind::Timestamp(3),
            Arc::new(TimestampMillisecondArray::from(vec![Some(1), None, Some(2)])),
        ),
        (
            TypeKind::TimestampLtz(6),
            Arc::new(TimestampMicrosecondArray::from(vec![Some(1), None, Some(2)])),
        ),
        (
            TypeKind::Timestamp(9),
            Arc::new(TimestampNanosecondArray::from(vec![Some(1), None, Some(2)])),
        ),
        (TypeKind::Array(Box::new(LogicalType::string())), list),
        (
            TypeKind::Map(
                Box::new(LogicalType::not_null(TypeKind::Varchar(5))),
                Box::new(LogicalType::int()),
            ),
            Arc::new(map.finish()),
        ),
        (row_type.kind, Arc::new(row)),
    ];
    columns.into_iter().map(|(kind, column)| (n(kind), column)).unzip()
}

#[test]
fn every_type_round_trips_with_nulls() {
    let (types, columns) = every_type();
    let rows = encode_rows(&columns, 3).unwrap();
    let decoded = decode_rows(&types, rows.iter()).unwrap();
    for ((ty, column), back) in types.iter().zip(&columns).zip(&decoded) {
        assert_eq!(back.data_type(), &ty.to_arrow(), "{ty}");
        assert_eq!(column, back, "{ty}");
    }
}

#[test]
fn damaged_bytes_are_errors_and_never_panics() {
    let (types, columns) = every_type();
    let rows = encode_rows(&columns, 3).unwrap();
    let row = rows.row(0);
    for cut in 0..row.len() {
        assert!(decode_rows(&types, [&row[..cut]]).is_err(), "cut at {cut}");
    }
    for at in 0..row.len() {
        let mut changed = row.to_vec();
        changed[at] ^= 0x55;
        let _ = decode_rows(&types, [changed.as_slice()]);
    }
    let longer = [row, &[0]].concat();
    assert_eq!(
        decode_rows(&types, [longer.as_slice()]).unwrap_err(),
        EncodingError::TrailingBytes(1)
    );
}
