//! [`by_folder`]: which rows of a batch go into which folder, with a folder's name written once, not once a row.

use super::partition::Partitioning;
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Int8Type, Int16Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use flott_core::TypeKind;
use std::collections::HashMap;
use std::hash::Hash;

/// The folders of a batch's rows, by their first rows, each with its rows in order. `keys` are the key columns.
pub(super) fn by_folder(partitioning: &Partitioning, keys: &[ArrayRef], rows: usize) -> Vec<(String, Vec<u32>)> {
    let mut numbers = vec![0; rows];
    for (key, column) in partitioning.keys.iter().zip(keys) {
        tell_apart(&key.ty.kind, column, &mut numbers);
    }
    // For each number its place in `folders`; two may share one, since NULL and the empty string do.
    let mut places: Vec<usize> = vec![];
    let mut known: HashMap<String, usize> = HashMap::new();
    let mut folders: Vec<(String, Vec<u32>)> = vec![];
    for (row, number) in numbers.into_iter().enumerate() {
        if number == places.len() {
            let mut folder = String::new();
            partitioning.write_folder(keys, row, &mut folder);
            places.push(*known.entry(folder).or_insert_with_key(|folder| {
                folders.push((folder.clone(), vec![]));
                folders.len() - 1
            }));
        }
        folders[places[number]].1.push(row as u32);
    }
    folders
}

/// Gives rows that have one number other numbers where they differ in a column: 0 for the first row, and one more for each that
/// is like none before it.
fn tell_apart(kind: &TypeKind, column: &ArrayRef, numbers: &mut [usize]) {
    macro_rules! numbered {
        ($values:expr) => {{
            let values = $values;
            number(numbers, |row| values.is_valid(row).then(|| values.value(row)))
        }};
    }
    match kind {
        TypeKind::Boolean => numbered!(column.as_boolean()),
        TypeKind::TinyInt => numbered!(column.as_primitive::<Int8Type>()),
        TypeKind::SmallInt => numbered!(column.as_primitive::<Int16Type>()),
        TypeKind::Int => numbered!(column.as_primitive::<Int32Type>()),
        TypeKind::BigInt => numbered!(column.as_primitive::<Int64Type>()),
        TypeKind::Date => numbered!(column.as_primitive::<Date32Type>()),
        _ => numbered!(column.as_string::<i32>()),
    }
}

fn number<T: Copy + Eq + Hash>(numbers: &mut [usize], value: impl Fn(usize) -> Option<T>) {
    let mut known: HashMap<(usize, Option<T>), usize> = HashMap::new();
    let mut last = None;
    for (row, number) in numbers.iter_mut().enumerate() {
        let now = (*number, value(row));
        *number = match last {
            Some((before, number)) if before == now => number,
            _ => {
                let next = known.len();
                *known.entry(now).or_insert(next)
            }
        };
        last = Some((now, *number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Int32Array, StringArray};
    use flott_core::{Field, LogicalType, Options};
    use flott_runtime::connector::TableSpec;
    use std::sync::Arc;

    #[test]
    fn rows_go_by_folders_in_order_and_null_with_the_empty_string() {
        let partitioning = Partitioning::read(&TableSpec {
            name: "t".into(),
            options: Options::new(),
            columns: vec![
                Field::new("x", LogicalType::bigint()),
                Field::new("a", LogicalType::string()),
                Field::new("b", LogicalType::int()),
            ],
            metadata: vec![],
            primary_key: vec![],
            partition_keys: vec!["a".into(), "b".into()],
        })
        .unwrap();
        let texts = [Some("u"), None, Some("u"), Some(""), Some("v"), Some("u"), None];
        let keys: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(texts.to_vec())),
            Arc::new(Int32Array::from(vec![1, 1, 2, 1, 1, 1, 2])),
        ];
        let found = by_folder(&partitioning, &keys, 7);
        let expected = [
            ("a=u/b=1", vec![0, 5]),
            ("a=__DEFAULT_PARTITION__/b=1", vec![1, 3]),
            ("a=u/b=2", vec![2]),
            ("a=v/b=1", vec![4]),
            ("a=__DEFAULT_PARTITION__/b=2", vec![6]),
        ];
        assert_eq!(found, expected.map(|(folder, rows)| (folder.to_owned(), rows)));
        assert_eq!(by_folder(&partitioning, &keys, 0), []);
    }
}
