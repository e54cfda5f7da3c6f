//! The options of a table `savepoint`.

use crate::table::{self, wrong};
use flott_checkpoint::OperatorManifest;
use flott_core::{LogicalType, OperatorId, TypeKind, suggest};
use flott_runtime::connector::{ConnectorError, MetadataKey, TableSpec};
use std::collections::BTreeMap;
use std::fmt;

const OPTIONS: [&str; 6] = [
    "state.path",
    "operator.uid",
    "operator.uid.hash",
    "state.backend.type",
    "state.table",
    "scan.parallelism",
];
const PREFIX: &str = "fields.";
/// Options of a column that are read.
const OF_FIELDS: [&str; 2] = ["state-name", "state-type"];
/// Options of a column that name Java classes, which state of Flott does not need.
const OF_JAVA: [&str; 4] = ["key-class", "key-type-factory", "value-class", "value-type-factory"];

/// Metadata: the end of the window that a row belongs to.
pub(super) const WINDOW_END: &str = "window-end";
/// Metadata: the group that a row's key is in.
pub(super) const KEY_GROUP: &str = "key-group";

/// What `fields.#.state-type` can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StateKind {
    List,
    Map,
    Value,
}

/// How a table names its operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OperatorName {
    Uid(String),
    Hash(OperatorId),
}

/// The options, read.
#[derive(Debug, Clone)]
pub(super) struct SavepointOptions {
    pub(super) path: String,
    pub(super) operator: OperatorName,
    pub(super) state_table: Option<String>,
    /// Names of states by column, where they differ.
    names: BTreeMap<String, String>,
    kinds: BTreeMap<String, StateKind>,
    /// Options that have no effect here.
    pub(super) ignored: Vec<String>,
}

impl fmt::Display for StateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List => "list",
            Self::Map => "map",
            Self::Value => "value",
        })
    }
}

impl fmt::Display for OperatorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uid(uid) => write!(f, "'operator.uid' = '{uid}'"),
            Self::Hash(hash) => write!(f, "'operator.uid.hash' = '{hash}'"),
        }
    }
}

impl OperatorName {
    /// Which of the operators it is.
    pub(super) fn find(&self, operators: &[OperatorManifest]) -> Option<usize> {
        operators.iter().position(|o| match self {
            Self::Uid(uid) => o.uid.as_ref() == Some(uid),
            Self::Hash(hash) => o.id == *hash,
        })
    }
}

/// The metadata that rows of state have.
pub(super) fn metadata() -> Vec<MetadataKey> {
    let key = |key: &str, ty: LogicalType| MetadataKey {
        key: key.to_owned(),
        ty,
        writable: false,
    };
    vec![
        key(WINDOW_END, LogicalType::new(TypeKind::TimestampLtz(3))),
        key(KEY_GROUP, LogicalType::not_null(TypeKind::Int)),
    ]
}

impl SavepointOptions {
    /// Reads the options of a table.
    ///
    /// # Errors
    /// The first thing wrong, with its remedy.
    pub(super) fn read(table: &TableSpec) -> Result<Self, ConnectorError> {
        let known: Vec<&str> = OPTIONS.iter().chain(&table::WATERMARK_OPTIONS).copied().collect();
        table::check_options_with(table, &known, |key| key.starts_with(PREFIX))?;
        let option = |key: &str| table.options.get(key);
        let path = option("state.path").filter(|p| !p.is_empty()).ok_or_else(|| {
            wrong(table, "the option 'state.path' is missing: the path of a checkpoint or savepoint, as `flott state ls DIR` lists them")
        })?;
        let operator = match (option("operator.uid"), option("operator.uid.hash")) {
            (Some(uid), None) => OperatorName::Uid(uid.to_owned()),
            (None, Some(hash)) => OperatorName::Hash(
                hash.parse()
                    .map_err(|e| wrong(table, format!("option 'operator.uid.hash': {e}")))?,
            ),
            (Some(_), Some(_)) => {
                return Err(wrong(
                    table,
                    "'operator.uid' and 'operator.uid.hash' are both given: one names the operator",
                ));
            }
            (None, None) => {
                return Err(wrong(
                    table,
                    "the option 'operator.uid' or 'operator.uid.hash' is missing; `flott state show` and savepoint_metadata('…') name the operators",
                ));
            }
        };
        table
            .options
            .one_of("state.backend.type", &["hashmap", "rocksdb"])
            .map_err(|e| wrong(table, e))?;
        if table.primary_key.is_empty() {
            return Err(wrong(
                table,
                "the key of the state is not declared: add PRIMARY KEY (…) NOT ENFORCED for its column",
            ));
        }
        let mut options = Self {
            path: path.to_owned(),
            operator,
            state_table: option("state.table").map(str::to_owned),
            names: BTreeMap::new(),
            kinds: BTreeMap::new(),
            ignored: vec![],
        };
        options.read_fields(table)?;
        Ok(options)
    }

    fn read_fields(&mut self, table: &TableSpec) -> Result<(), ConnectorError> {
        for (key, value) in table.options.iter().filter(|(key, _)| key.starts_with(PREFIX)) {
            let rest = &key[PREFIX.len()..];
            // Names of columns may have dots, those of options have none.
            let (column, option) = rest.rsplit_once('.').unwrap_or((rest, ""));
            let columns = || table.columns.iter().map(|c| c.name.as_str());
            if !columns().any(|c| c == column) {
                let hint = suggest::hint(column, columns());
                return Err(wrong(
                    table,
                    format!("option '{key}' names no column of the table{hint}"),
                ));
            }
            match option {
                "state-name" => drop(self.names.insert(column.to_owned(), value.to_owned())),
                "state-type" => {
                    let kinds = [StateKind::List, StateKind::Map, StateKind::Value];
                    let index = table
                        .options
                        .one_of(key, &["list", "map", "value"])
                        .map_err(|e| wrong(table, e))?;
                    if let Some(kind) = index.and_then(|i| kinds.get(i)) {
                        self.kinds.insert(column.to_owned(), *kind);
                    }
                }
                option if OF_JAVA.contains(&option) => self.ignored.push(key.to_owned()),
                option => {
                    let all = OF_FIELDS.iter().chain(&OF_JAVA).copied();
                    let hint = suggest::hint(option, all);
                    return Err(wrong(
                        table,
                        format!(
                            "there is no option '{key}'{hint} (known: fields.#.{})",
                            OF_FIELDS.join(", fields.#.")
                        ),
                    ));
                }
            }
        }
        Ok(())
    }

    /// The state that a column shows.
    pub(super) fn state_of<'a>(&'a self, column: &'a str) -> &'a str {
        self.names.get(column).map_or(column, String::as_str)
    }

    /// What kind of state a column is said to show.
    pub(super) fn kind_of(&self, column: &str) -> Option<StateKind> {
        self.kinds.get(column).copied()
    }
}
