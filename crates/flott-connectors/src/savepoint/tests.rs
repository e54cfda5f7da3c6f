//! What state gives as rows, and what does not fit.

use super::convert::Stored;
use super::mapping::Mapping;
use super::options::SavepointOptions;
use super::read::{SavedState, ranges};
use super::{SavepointConnector, SavepointMetadataConnector};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, Int64Array, StringArray};
use flott_checkpoint::{CheckpointStore, ColumnType, Manifest, OperatorManifest, SnapshotKind, TableDescriptor};
use flott_core::hash::hash_columns;
use flott_core::{Batch, Field, JobId, KeyGroupRange, LogicalType, OperatorId, Options, TypeKind};
use flott_formats::RowPrinter;
use flott_runtime::TableConnector;
use flott_runtime::connector::{MetadataKey, ScanSpec, TableSpec};
use flott_state::{KeyedTable, OperatorSnapshot, RunMode, StateValue, TableCapture, WindowTables, encode_snapshots};
use std::collections::BTreeMap;
use std::sync::Arc;

const GROUPS: usize = 16;
const UID: &str = "counts";

fn ty(kind: TypeKind) -> LogicalType {
    LogicalType::new(kind)
}

fn array(kind: TypeKind) -> LogicalType {
    ty(TypeKind::Array(Box::new(ty(kind))))
}

fn map(key: TypeKind, value: LogicalType) -> LogicalType {
    ty(TypeKind::Map(Box::new(LogicalType::not_null(key)), Box::new(value)))
}

fn row(fields: &[(&str, TypeKind)]) -> LogicalType {
    let field = |(name, kind): &(&str, TypeKind)| Field::new(*name, ty(kind.clone()));
    ty(TypeKind::Row(fields.iter().map(field).collect()))
}

fn table(columns: &[(&str, LogicalType)], key: &[&str], options: &[(&str, &str)]) -> TableSpec {
    let all = [
        ("connector", "savepoint"),
        ("state.path", "/none"),
        ("operator.uid", UID),
    ];
    let mut merged: Options = all.into_iter().collect();
    merged.merge(&options.iter().copied().collect());
    TableSpec {
        name: "c.d.state".to_owned(),
        options: merged,
        columns: columns.iter().map(|(n, t)| Field::new(*n, t.clone())).collect(),
        metadata: vec![],
        primary_key: key.iter().map(|k| (*k).to_owned()).collect(),
        partition_keys: vec![],
    }
}

fn scan(table: &TableSpec, metadata: &[&str]) -> ScanSpec {
    let all = super::options::metadata();
    let key = |name: &&str| -> MetadataKey { all.iter().find(|m| m.key == **name).unwrap().clone() };
    ScanSpec {
        table: table.clone(),
        fields: table.columns.clone(),
        metadata: metadata.iter().map(key).collect(),
        watermark: None,
        partitions: None,
    }
}

/// A checkpoint of one operator with these captures; the folder must live as long as it is read.
async fn saved(keyed: Vec<TableCapture>) -> (tempfile::TempDir, SavedState) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let store = CheckpointStore::open(path, "job", &Options::new()).await.unwrap();
    let leader = store.claim("test").await.unwrap();
    leader.start_from(None).await.unwrap();
    let snapshot = OperatorSnapshot {
        keyed,
        ..OperatorSnapshot::default()
    };
    let encoded = encode_snapshots(1, 0, vec![(OperatorId::of(UID), snapshot)], RunMode::Full);
    let written = encoded.unwrap().write(&leader.writer(1, 1)).await.unwrap();
    let mut operator = OperatorManifest {
        id: OperatorId::of(UID),
        name: "Keyed Process".to_owned(),
        kind: "keyed".to_owned(),
        uid: Some(UID.to_owned()),
        parallelism: 1,
        max_parallelism: GROUPS,
        tables: vec![],
        subtasks: vec![],
    };
    written.parts.into_iter().for_each(|part| operator.add(part));
    let manifest = Manifest {
        job_name: "job".to_owned(),
        job_id: JobId::of("job"),
        generation: 1,
        checkpoint_id: 1,
        kind: SnapshotKind::Savepoint,
        timestamp_ms: 0,
        operators: vec![operator],
        coordinator: vec![],
    };
    std::fs::write(dir.path().join("_metadata"), manifest.encode().unwrap()).unwrap();
    let saved = SavedState::open(path, &Options::new()).await.unwrap();
    (dir, saved)
}

/// Sets values of keys `k0`, `k1`, … in a table whose key is a string.
fn fill(table: &mut KeyedTable, rows: usize, set: impl Fn(&mut KeyedTable, u32, usize)) {
    let keys: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|i| format!("k{i}"))));
    let hashes = hash_columns(std::slice::from_ref(&keys), rows).unwrap();
    let mut slots = vec![];
    table.slots(&[keys], &hashes, &mut slots).unwrap();
    slots.iter().enumerate().for_each(|(i, slot)| set(table, *slot, i));
}

/// The state of a program: a number, a list and a map with a time to live by key, all but the number missing at the first key.
fn program_state() -> TableCapture {
    type Stamped = BTreeMap<i32, (String, i64)>;
    let mut stamped = Stamped::state_type();
    if let TypeKind::Map(_, value) = &mut stamped.kind
        && let TypeKind::Row(fields) = &mut value.kind
    {
        fields[0].name = "value".to_owned();
        fields[1].name = "value.updated".to_owned();
    }
    let descriptor = TableDescriptor::new(
        "values",
        vec![LogicalType::not_null(TypeKind::Varchar(flott_core::types::MAX_LENGTH))],
    )
    .values("count", i32::state_type())
    .values("seen", Vec::<i64>::state_type())
    .values("names", stamped);
    let mut table = KeyedTable::new(descriptor, GROUPS, KeyGroupRange::all(GROUPS));
    table.keep_values::<i32>(0);
    table.keep_values::<Vec<i64>>(1);
    table.keep_values::<Stamped>(2);
    fill(&mut table, 100, |table, slot, i| {
        table.values_mut(0).set(slot, Some(i as i32));
        if i > 0 {
            table.values_mut(1).set(slot, Some(vec![i as i64; 2]));
            let names = Stamped::from([(i as i32, (format!("n{i}"), 5))]);
            table.values_mut(2).set(slot, Some(names));
        }
    });
    table.capture(1)
}

/// All rows of a table, sorted by their text.
async fn rows(saved: &SavedState, scan: &ScanSpec) -> Result<Vec<String>, String> {
    let options = SavepointOptions::read(&scan.table).map_err(|e| e.to_string())?;
    let mapping = Mapping::new(scan, &options, saved).map_err(|e| e.to_string())?;
    let operator = &saved.manifest().operators[mapping.operator];
    let metadata = scan.metadata.iter().map(|m| Field::new(m.key.clone(), m.ty.clone()));
    let printer = RowPrinter::new(scan.fields.iter().cloned().chain(metadata).collect());
    let mut lines = vec![];
    // Group by group, as if each were large.
    for group in 0..GROUPS as u16 {
        let range = KeyGroupRange {
            start: group,
            end: group,
        };
        let loaded = saved.load(operator, &mapping.descriptor, range).await.unwrap();
        let mut rows = loaded.rows().unwrap();
        while let Some(chunk) = rows.next(3, &mapping.read).unwrap() {
            let batch = Batch::new(mapping.columns(&chunk)?, chunk.rows);
            let line = |line: &[u8]| lines.push(String::from_utf8(line.to_vec()).unwrap());
            printer.print(&batch, line).unwrap();
        }
    }
    lines.sort();
    Ok(lines)
}

async fn problem(saved: &SavedState, table: &TableSpec) -> String {
    rows(saved, &scan(table, &[])).await.unwrap_err()
}

#[tokio::test]
async fn state_of_a_program_is_a_table() {
    let (_dir, saved) = saved(vec![program_state()]).await;
    let columns = [
        ("k", LogicalType::string().with_nullable(false)),
        ("n", ty(TypeKind::BigInt)),
        ("seen", array(TypeKind::BigInt)),
        ("names", map(TypeKind::Int, LogicalType::string())),
        ("text", LogicalType::string()),
    ];
    let options = [
        ("fields.n.state-name", "count"),
        ("fields.text.state-name", "seen"),
        ("fields.names.state-type", "map"),
    ];
    let table = table(&columns, &["k"], &options);
    let all = rows(&saved, &scan(&table, &[])).await.unwrap();
    assert_eq!(all.len(), 100);
    assert_eq!(all[0], "+I[k0, 0, null, null, null]");
    assert_eq!(all[1], "+I[k1, 1, [1, 1], {1=n1}, [1, 1]]");
    // Some columns, in another order, with the entries as they are.
    let stamped = map(TypeKind::Int, row(&[("value.updated", TypeKind::BigInt)]));
    let some = super::tests::table(&[("names", stamped), columns[0].clone()], &["k"], &[]);
    let all = rows(&saved, &scan(&some, &["key-group"])).await.unwrap();
    assert!(all.iter().any(|line| line.starts_with("+I[{7=+I[5]}, k7, ")), "{all:?}");
    let operator = &saved.manifest().operators[0];
    assert_eq!(ranges(operator, &operator.tables[0]).len(), 1);
}

#[tokio::test]
async fn state_of_queries_has_the_types_that_are_declared() {
    let descriptor = TableDescriptor::new("group-aggs", vec![LogicalType::string()])
        .column("count", ColumnType::I64)
        .nullable("sum", ColumnType::I128)
        .nullable("last", ColumnType::Bytes);
    let mut windows = WindowTables::new(descriptor, GROUPS, KeyGroupRange::all(GROUPS));
    for end_ms in [60_000, 120_000] {
        fill(windows.table_mut(end_ms), 3, |table, slot, i| {
            table.column_mut::<i64>(0).set(slot, i as i64 + 200);
            table
                .column_mut::<i128>(1)
                .set_value(slot, (i > 0).then_some(i as i128 * 150));
            table.bytes_column_mut(2).set(slot, Some(b"x"));
        });
    }
    let (_dir, saved) = saved(windows.capture(1)).await;
    let columns = |count: TypeKind| {
        let k = ("k", LogicalType::string().with_nullable(false));
        let sum = ("sum", ty(TypeKind::Decimal(10, 2)));
        [k, ("count", ty(count)), sum, ("last", LogicalType::string())]
    };
    let good = table(&columns(TypeKind::Int), &["k"], &[]);
    let all = rows(&saved, &scan(&good, &["window-end"])).await.unwrap();
    assert_eq!(all.len(), 6);
    assert_eq!(all[0], "+I[k0, 200, null, x, 1970-01-01T00:01:00Z]");
    assert_eq!(all[5], "+I[k2, 202, 3.00, x, 1970-01-01T00:02:00Z]");
    let narrow = problem(&saved, &table(&columns(TypeKind::TinyInt), &["k"], &[])).await;
    assert!(
        narrow.contains("column 'count': ") && narrow.contains("is no TINYINT; declare it as BIGINT"),
        "{narrow}"
    );
}

#[tokio::test]
async fn what_does_not_fit_is_named() {
    let (_dir, saved) = saved(vec![program_state()]).await;
    let k = ("k", LogicalType::string().with_nullable(false));
    let wrong = async |column: (&str, LogicalType), options: &[(&str, &str)]| {
        problem(&saved, &table(&[k.clone(), column], &["k"], options)).await
    };
    let text = wrong(("count", ty(TypeKind::SmallInt)), &[]).await;
    assert_eq!(
        text,
        "table 'state': column 'count' is declared as SMALLINT, but the state 'count' holds INT NOT NULL; \
         declare it as INT, or as STRING for its text"
    );
    let text = wrong(("cuont", ty(TypeKind::Int)), &[]).await;
    assert!(
        text.contains("no state 'cuont'") && text.contains("did you mean 'count'") && text.contains("state-name"),
        "{text}"
    );
    let text = wrong(("seen", array(TypeKind::BigInt)), &[("fields.seen.state-type", "map")]).await;
    assert!(
        text.contains("'fields.seen.state-type' = 'map' is not what the state 'seen' is"),
        "{text}"
    );
    let text = wrong(("count", ty(TypeKind::Int)), &[("operator.uid", "cuonts")]).await;
    assert!(
        text.contains("no operator of 'operator.uid' = 'cuonts'") && text.contains("'counts' (Keyed Process)"),
        "{text}"
    );
    let text = wrong(("count", ty(TypeKind::Int)), &[("state.table", "value")]).await;
    assert!(text.contains("did you mean 'values'"), "{text}");
    let text = wrong(("seen", array(TypeKind::BigInt).with_nullable(false)), &[]).await;
    assert!(
        text.contains("column 'seen': it is declared NOT NULL, but some keys have no value"),
        "{text}"
    );
    let number = ("k", LogicalType::not_null(TypeKind::BigInt));
    let text = problem(&saved, &table(&[number], &["k"], &[])).await;
    assert!(
        text.contains("column 'k' is declared as BIGINT NOT NULL, but the key holds STRING NOT NULL"),
        "{text}"
    );
    let both = [("k", k.1.clone()), ("count", ty(TypeKind::Int))];
    let text = problem(&saved, &table(&both, &["k", "count"], &[])).await;
    assert!(
        text.contains("PRIMARY KEY (k, count) is not the key of the state 'values'"),
        "{text}"
    );
    let text = rows(&saved, &scan(&table(&both, &["k"], &[]), &["window-end"]))
        .await
        .unwrap_err();
    assert!(text.contains("is not kept by window"), "{text}");
}

#[test]
fn options_are_checked_without_looking() {
    let k = ("k", LogicalType::not_null(TypeKind::BigInt));
    let check = |key: &[&str], options: &[(&str, &str)], without: &str| {
        let mut table = table(std::slice::from_ref(&k), key, options);
        table.options.remove(without);
        SavepointConnector.check_source(&table)
    };
    let wrong =
        |key: &[&str], options: &[(&str, &str)], without: &str| check(key, options, without).unwrap_err().to_string();
    assert!(wrong(&[], &[], "").contains("PRIMARY KEY"));
    assert!(wrong(&["k"], &[], "state.path").contains("'state.path' is missing"));
    assert!(wrong(&["k"], &[], "operator.uid").contains("'operator.uid' or 'operator.uid.hash' is missing"));
    assert!(wrong(&["k"], &[("operator.uid.hash", "x")], "operator.uid").contains("32 hexadecimal digits"));
    assert!(wrong(&["k"], &[("operator.uid.hash", "x")], "").contains("are both given"));
    assert!(wrong(&["k"], &[("state.pth", "x")], "").contains("did you mean 'state.path'"));
    assert!(wrong(&["k"], &[("fields.j.state-name", "x")], "").contains("names no column"));
    assert!(wrong(&["k"], &[("fields.k.state-nam", "x")], "").contains("did you mean 'state-name'"));
    assert!(wrong(&["k"], &[("state.backend.type", "forst")], "").contains("rocksdb"));
    let info = check(&["k"], &[("fields.k.value-class", "java.lang.Long")], "").unwrap();
    assert!(info.warnings[0].contains("'fields.k.value-class' has no effect"));
    assert!(SavepointMetadataConnector.check_source(&table(&[k], &[], &[])).is_err());
}

#[test]
fn types_fit_where_nothing_is_lost() {
    let fits = |stored: TypeKind, declared: TypeKind| Stored::Typed(ty(stored)).fits(&ty(declared));
    assert!(fits(TypeKind::SmallInt, TypeKind::BigInt) && !fits(TypeKind::BigInt, TypeKind::SmallInt));
    assert!(fits(TypeKind::Float, TypeKind::Double) && !fits(TypeKind::Double, TypeKind::Float));
    assert!(fits(TypeKind::Decimal(20, 2), TypeKind::Decimal(38, 2)));
    assert!(!fits(TypeKind::Decimal(20, 2), TypeKind::Decimal(38, 3)));
    assert!(
        fits(TypeKind::Timestamp(2), TypeKind::Timestamp(3)) && !fits(TypeKind::Timestamp(3), TypeKind::Timestamp(6))
    );
    let fields = |names: &[&str]| {
        let fields: Vec<_> = names.iter().map(|n| (*n, TypeKind::Int)).collect();
        row(&fields)
    };
    let stored = Stored::Typed(fields(&["a", "b"]));
    assert!(stored.fits(&fields(&["b"])) && stored.fits(&LogicalType::string()) && !stored.fits(&fields(&["c"])));
    let number = Stored::Storage(ColumnType::I64);
    assert!(number.fits(&ty(TypeKind::Timestamp(3))) && !number.fits(&ty(TypeKind::Double)));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), None]));
    let narrow = number.convert(&numbers, &ty(TypeKind::Int)).unwrap();
    assert_eq!(narrow.as_primitive::<Int32Type>().value(0), 7);
    assert!(narrow.is_null(1));
    let text = number.convert(&numbers, &LogicalType::string()).unwrap();
    assert_eq!(text.as_string::<i32>().value(0), "7");
    let wide: TypeKind = TypeKind::BigInt;
    let same = Stored::Typed(ty(wide.clone())).convert(&numbers, &ty(wide)).unwrap();
    assert_eq!(same.as_primitive::<Int64Type>().value(0), 7);
}
