//! Files into splits.

use super::bucket::Place;
use super::compression::Compression;
use super::listing::{FoundFile, list};
use super::options::ScanOptions;
use super::{RANGE_BYTES, ROW_GROUP_RANGE_BYTES};
use async_trait::async_trait;
use flott_runtime::SplitEnumerator;
use flott_runtime::connector::{ConnectorError, Split};
use flott_runtime::partition_filter::PartitionFilter;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Most ranges of one file.
const MAX_RANGES: u64 = 1024;

/// Where files may be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Splitting {
    Nowhere,
    LineEnds,
    /// A range owns the row groups that begin in it.
    RowGroups,
}

/// State of a split: a range of a file, and how far it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileSplit {
    pub path: PathBuf,
    /// First byte of the range.
    pub start: u64,
    /// Lines or row groups that begin before this byte belong to the range; `u64::MAX`: all.
    pub end: u64,
    /// Start of the next line to read, or for parquet the number of the file's next row; `None` before the first one was
    /// looked for.
    pub position: Option<u64>,
    /// Place in the order in which ranges are dealt.
    pub ordinal: u64,
    pub size_bytes: u64,
    pub modified_ms: i64,
}

/// Finds files and cuts them into ranges.
pub(super) struct FileEnumerator {
    table: String,
    options: Arc<ScanOptions>,
    splitting: Splitting,
    place: Place,
    /// Which partitions are left out.
    filter: Option<PartitionFilter>,
    /// Every file found so far.
    known: BTreeSet<PathBuf>,
    /// Number of the next range dealt.
    next_ordinal: u64,
    /// Whether the files were listed, here or before the checkpoint. A source that ends reads what there was then, however
    /// often it is restored.
    is_listed: bool,
}

#[derive(Serialize, Deserialize)]
struct Snapshot {
    known: BTreeSet<PathBuf>,
    next_ordinal: u64,
}

impl FileEnumerator {
    pub(super) fn new(
        table: &str,
        options: Arc<ScanOptions>,
        splitting: Splitting,
        place: Place,
        filter: Option<PartitionFilter>,
        restored: Option<&[u8]>,
    ) -> Result<Self, ConnectorError> {
        let snapshot = match restored {
            None => Snapshot {
                known: BTreeSet::new(),
                next_ordinal: 0,
            },
            Some(bytes) => serde_json::from_slice(bytes).map_err(|e| ConnectorError::Fatal {
                message: format!("table '{table}': the list of files in the checkpoint is unreadable"),
                source: Some(Box::new(e)),
            })?,
        };
        Ok(Self {
            table: table.to_owned(),
            options,
            splitting,
            place,
            filter,
            known: snapshot.known,
            next_ordinal: snapshot.next_ordinal,
            is_listed: restored.is_some(),
        })
    }

    /// The ranges of a file, as start and end.
    fn ranges(&self, file: &FoundFile) -> Vec<(u64, u64)> {
        let is_packed = self.splitting == Splitting::LineEnds && Compression::of(&file.path) != Compression::None;
        let range_bytes = match self.splitting {
            Splitting::LineEnds if !is_packed => RANGE_BYTES,
            Splitting::RowGroups => ROW_GROUP_RANGE_BYTES,
            _ => u64::MAX,
        };
        if file.size_bytes <= range_bytes {
            return vec![(0, u64::MAX)];
        }
        let count = file.size_bytes.div_ceil(range_bytes).min(MAX_RANGES);
        let cut = |i: u64| (u128::from(file.size_bytes) * u128::from(i) / u128::from(count)) as u64;
        (0..count)
            .map(|i| (cut(i), if i + 1 == count { u64::MAX } else { cut(i + 1) }))
            .collect()
    }

    fn splits(&mut self, files: Vec<FoundFile>) -> Result<Vec<Split>, ConnectorError> {
        let mut ranges: Vec<(usize, u64, u64, FoundFile)> = vec![];
        for file in files {
            if !self.options.partitioning.is_none() {
                self.options
                    .partitioning
                    .values_of(&file.path)
                    .map_err(|problem| ConnectorError::Fatal {
                        message: format!("table '{}': {problem}", self.table),
                        source: None,
                    })?;
            }
            for (i, (start, end)) in self.ranges(&file).into_iter().enumerate() {
                ranges.push((i, start, end, file.clone()));
            }
        }
        // The first ranges of all files come before their second ones; the sort keeps the files' order.
        ranges.sort_by_key(|(i, ..)| *i);
        let mut splits = vec![];
        let mut next_ordinal = self.next_ordinal;
        let mut found = vec![];
        for (_, start, end, file) in ranges {
            found.push(file.path.clone());
            let state = FileSplit {
                start,
                end,
                position: None,
                ordinal: next_ordinal,
                size_bytes: file.size_bytes,
                modified_ms: file.modified_ms,
                path: file.path,
            };
            next_ordinal += 1;
            splits.push(state.to_split()?);
        }
        // Known is what has its splits: a file that cannot be taken must not take those along that came with it.
        self.known.extend(found);
        self.next_ordinal = next_ordinal;
        Ok(splits)
    }
}

impl FileSplit {
    /// All of a file, from its start.
    pub(super) fn whole(path: PathBuf, size_bytes: u64) -> Self {
        Self {
            path,
            start: 0,
            end: u64::MAX,
            position: None,
            ordinal: 0,
            size_bytes,
            modified_ms: 0,
        }
    }

    /// Its name within the source.
    pub(super) fn id(&self) -> String {
        format!("{}@{}", self.path.display(), self.start)
    }

    fn to_split(&self) -> Result<Split, ConnectorError> {
        let state = serde_json::to_vec(self).map_err(|e| ConnectorError::Fatal {
            message: format!(
                "the name of file '{}' cannot be kept in a checkpoint",
                self.path.display()
            ),
            source: Some(Box::new(e)),
        })?;
        Ok(Split { id: self.id(), state })
    }
}

#[async_trait]
impl SplitEnumerator for FileEnumerator {
    async fn discover(&mut self) -> Result<Vec<Split>, ConnectorError> {
        if self.is_listed && self.options.monitor_interval_ms.is_none() {
            return Ok(vec![]);
        }
        let path = self.options.path.clone();
        let (options, filter) = (self.options.clone(), self.filter.clone());
        let wanted = move |path: &Path| {
            let passes = |filter| options.partitioning.may_pass(path, filter);
            filter.as_ref().is_none_or(passes)
        };
        let listed = match &self.place {
            Place::Bucket(bucket) => bucket.list(&path).await.map(|mut files| {
                files.retain(|file| wanted(&file.path));
                files
            }),
            Place::Disk => tokio::task::spawn_blocking(move || list(&path, &wanted))
                .await
                .map_err(|e| ConnectorError::Fatal {
                    message: format!("table '{}': listing files stopped short", self.table),
                    source: Some(Box::new(e)),
                })?,
        };
        let files = match listed {
            Ok(files) => files,
            // A directory that is watched may come later.
            Err((_, e)) if e.kind() == std::io::ErrorKind::NotFound && self.options.monitor_interval_ms.is_some() => {
                vec![]
            }
            Err((at, e)) => {
                return Err(ConnectorError::Transient {
                    message: format!(
                        "table '{}': '{}' ('path') cannot be read: {e}",
                        self.table,
                        at.display()
                    ),
                    source: Some(Box::new(e)),
                });
            }
        };
        let is_wanted = |path: &Path| {
            let pattern = self.options.path_pattern.as_ref();
            let whole = match &self.place {
                Place::Bucket(_) => path.to_owned(),
                Place::Disk => std::path::absolute(path).unwrap_or_default(),
            };
            pattern.is_none_or(|p| p.is_match(&whole.to_string_lossy()))
        };
        let is_new = |f: &FoundFile| !self.known.contains(&f.path) && is_wanted(&f.path);
        let new = files.into_iter().filter(is_new).collect();
        let splits = self.splits(new)?;
        self.is_listed = true;
        Ok(splits)
    }

    fn discovery_interval(&self) -> Option<Duration> {
        self.options.monitor_interval_ms.map(Duration::from_millis)
    }

    fn owner(&self, split: &Split, parallelism: usize) -> usize {
        let ordinal = serde_json::from_slice::<FileSplit>(&split.state).map_or(0, |s| s.ordinal);
        (ordinal % parallelism.max(1) as u64) as usize
    }

    fn snapshot(&self) -> Vec<u8> {
        let snapshot = Snapshot {
            known: self.known.clone(),
            next_ordinal: self.next_ordinal,
        };
        serde_json::to_vec(&snapshot).expect("paths that are no text were refused when their splits were made")
    }
}
