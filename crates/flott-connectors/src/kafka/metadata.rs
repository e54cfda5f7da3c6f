//! The metadata columns of `kafka` tables: keys, types, and which of them can be written. Those of the value's format come under
//! names that begin with [`OF_VALUE`], and can only be read.

use flott_core::{LogicalType, TypeKind};
use flott_runtime::connector::MetadataKey;

/// What the names of the value's metadata begin with.
pub(super) const OF_VALUE: &str = "value.";

/// A metadata column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Metadata {
    Topic,
    Partition,
    Headers,
    LeaderEpoch,
    Offset,
    Timestamp,
    TimestampType,
}

const ALL: [Metadata; 7] = [
    Metadata::Topic,
    Metadata::Partition,
    Metadata::Headers,
    Metadata::LeaderEpoch,
    Metadata::Offset,
    Metadata::Timestamp,
    Metadata::TimestampType,
];

impl Metadata {
    pub fn key(self) -> &'static str {
        match self {
            Metadata::Topic => "topic",
            Metadata::Partition => "partition",
            Metadata::Headers => "headers",
            Metadata::LeaderEpoch => "leader-epoch",
            Metadata::Offset => "offset",
            Metadata::Timestamp => "timestamp",
            Metadata::TimestampType => "timestamp-type",
        }
    }

    pub fn of_key(key: &str) -> Option<Self> {
        ALL.into_iter().find(|m| m.key() == key)
    }

    fn ty(self) -> LogicalType {
        match self {
            Metadata::Topic | Metadata::TimestampType => LogicalType::string().with_nullable(false),
            Metadata::Partition => LogicalType::not_null(TypeKind::Int),
            Metadata::Headers => {
                let bytes = LogicalType::new(TypeKind::Varbinary(flott_core::types::MAX_LENGTH));
                let key = LogicalType::string().with_nullable(false);
                LogicalType::not_null(TypeKind::Map(Box::new(key), Box::new(bytes)))
            }
            Metadata::LeaderEpoch => LogicalType::int(),
            Metadata::Offset => LogicalType::not_null(TypeKind::BigInt),
            Metadata::Timestamp => LogicalType::not_null(TypeKind::TimestampLtz(3)),
        }
    }

    fn is_writable(self) -> bool {
        matches!(self, Metadata::Topic | Metadata::Headers | Metadata::Timestamp)
    }
}

/// All metadata of tables whose value has this format, as planners see it.
pub(super) fn metadata_keys(value_format: &str) -> Vec<MetadataKey> {
    let of_records = ALL.into_iter().map(|m| MetadataKey {
        key: m.key().to_owned(),
        ty: m.ty(),
        writable: m.is_writable(),
    });
    let of_value = flott_formats::metadata(value_format)
        .into_iter()
        .map(|field| MetadataKey {
            key: format!("{OF_VALUE}{}", field.name),
            ty: field.ty,
            writable: false,
        });
    of_records.chain(of_value).collect()
}
