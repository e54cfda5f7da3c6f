//! Snapshots to files and back: [`encode_snapshots`], [`EncodedSnapshots::write`], [`load_operator`].
//!
//! All operators of a chain share one file per subtask and checkpoint, so that a checkpoint costs one sync a subtask. A subtask
//! whose state is small ([`INLINE_BYTES`]) writes no file: its state lies in the manifest.
//!
//! ```text
//! operator thread   capture (µs)
//! blocking pool          `-- encode_snapshots (CPU)
//! tokio                          `-- write (one file) --> parts for the manifest, a ticket
//! coordinator                                                  `-- manifest exists --> ticket.confirm()
//! ```
//!
//! A ticket that is never confirmed costs nothing but a larger next increment.

use crate::capture::TableCapture;
use crate::changes::ChainBook;
use crate::cold::ColdParts;
use crate::error::StateError;
use crate::preload::{KnownRun, ListedRun, PreloadedState};
use crate::run::{EncodedRun, RunMode, RunReader};
use crate::snapshot::{
    InFlightBytes, LaterBlocks, LoadedRun, OperatorEntry, OperatorSnapshot, RestoredInFlight, RestoredState,
};
use bytes::Bytes;
use flott_checkpoint::{
    CheckpointError, EntryRef, InFlightRef, InlineBytes, Location, OperatorManifest, OperatorPart, PutPayload, Root,
    RunPart, RunRef, StateWriter, SubtaskManifest, SubtaskRestore, TableDescriptor, restore_plan,
};
use flott_core::{CheckpointId, OperatorId};
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};
use std::sync::Arc;

/// State of a subtask up to this size is kept in the manifest (Flink's `execution.checkpointing.data-inline-threshold`).
pub const INLINE_BYTES: usize = 20 * 1024;

/// Runs of one subtask that are read at the same time.
const CONCURRENT_READS: usize = 8;

/// Bytes that a subtask's tables have elsewhere than in memory and that wait for its one file; what is beyond is written at once.
const TOGETHER_BYTES: u64 = 16 * 1024 * 1024;

/// Bytes of one subtask's runs that are kept from the check to the restore; what is beyond is read again.
const KEPT_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes of a run that are read at once where they are not kept.
pub(crate) const PIECE_BYTES: u64 = 4 * 1024 * 1024;

/// A run below this size is read in one request, whichever of its groups are wanted.
const SMALL_RUN_BYTES: u64 = 256 * 1024;

/// State of a subtask as bytes, not yet written.
#[derive(Debug)]
pub struct EncodedSnapshots {
    checkpoint: CheckpointId,
    subtask: usize,
    operators: Vec<EncodedOperator>,
    in_flight: Vec<InFlightBytes>,
}

#[derive(Debug)]
struct EncodedOperator {
    id: OperatorId,
    tables: Vec<TableDescriptor>,
    chains: Vec<EncodedChain>,
    entries: Vec<OperatorEntry>,
    committables: Vec<Bytes>,
}

/// The runs of one table: those that exist, and those to write.
#[derive(Debug)]
struct EncodedChain {
    existing: Vec<RunRef>,
    /// What a tiered table has elsewhere; not even encoded yet.
    cold: Option<ColdParts>,
    /// In the order in which they are applied.
    new: Vec<EncodedRun>,
    /// Where to note the chain, if increments can build on it.
    book: Option<Arc<ChainBook>>,
    /// Whether rows may leave memory.
    is_tiered: bool,
}

/// State of a subtask that is written.
#[derive(Debug)]
pub struct WrittenSnapshots {
    /// What the manifest says of each operator of the chain.
    pub parts: Vec<OperatorPart>,
    /// Bytes written for this checkpoint.
    pub written_bytes: u64,
    /// Of these, bytes of rows in flight.
    pub in_flight_bytes: u64,
    /// Bytes of all state, those of earlier checkpoints that it builds on included.
    pub state_bytes: u64,
    /// Of these, by operator, those of tables whose rows are all in memory.
    pub in_memory_bytes: Vec<(OperatorId, u64)>,
    /// To be confirmed when the manifest exists.
    pub ticket: ConfirmationTicket,
}

/// Tells the tables of a subtask that a checkpoint exists, so that increments may build on it.
#[derive(Debug, Clone)]
#[must_use = "without confirmation no increment is ever written"]
pub struct ConfirmationTicket {
    checkpoint: CheckpointId,
    books: Vec<Arc<ChainBook>>,
}

impl ConfirmationTicket {
    /// The manifest exists. Called from any thread, at any time before the tables' next capture to be of use for it.
    pub fn confirm(&self) {
        for book in &self.books {
            book.confirm(self.checkpoint);
        }
    }

    /// The checkpoint that it is for.
    pub fn checkpoint(&self) -> CheckpointId {
        self.checkpoint
    }
}

/// Encodes the snapshots of a chain's operators: CPU work, for a blocking thread.
///
/// # Errors
/// If a table could not be captured.
pub fn encode_snapshots(
    checkpoint: CheckpointId,
    subtask: usize,
    snapshots: Vec<(OperatorId, OperatorSnapshot)>,
    mode: RunMode,
) -> Result<EncodedSnapshots, StateError> {
    let operators = snapshots.into_iter().map(|(id, snapshot)| {
        let mut tables: Vec<TableDescriptor> = Vec::new();
        for capture in &snapshot.keyed {
            if !tables.iter().any(|t| t.name == capture.descriptor().name) {
                tables.push(capture.descriptor().as_ref().clone());
            }
        }
        let chains = snapshot.keyed.into_iter().map(|c| encode_chain(c, mode));
        Ok(EncodedOperator {
            id,
            tables,
            chains: chains.collect::<Result<_, StateError>>()?,
            entries: snapshot.operator_state,
            committables: snapshot.committables,
        })
    });
    Ok(EncodedSnapshots {
        checkpoint,
        subtask,
        operators: operators.collect::<Result<_, StateError>>()?,
        in_flight: vec![],
    })
}

fn encode_chain(capture: TableCapture, mode: RunMode) -> Result<EncodedChain, StateError> {
    let is_delta = mode == RunMode::Incremental && capture.is_delta_worth_it();
    let cold = ColdParts::of(&capture, is_delta)?;
    let is_tiered = capture.cold.is_some();
    if mode == RunMode::Full {
        // An empty table is in the manifest by its descriptor alone.
        let new = if capture.is_empty() { None } else { capture.encode(mode) };
        return Ok(EncodedChain {
            existing: Vec::new(),
            cold,
            new: new.into_iter().collect(),
            book: None,
            is_tiered,
        });
    }
    capture.book.want_increments();
    let existing = match &capture.increment {
        Some(increment) if is_delta => increment.base.as_ref().clone(),
        _ => Vec::new(),
    };
    Ok(EncodedChain {
        existing,
        cold,
        new: capture.encode(mode).into_iter().collect(),
        book: capture.is_tracked.then(|| Arc::clone(&capture.book)),
        is_tiered,
    })
}

impl EncodedSnapshots {
    /// The same with rows that the barrier has overtaken: they lie beside the state, and the manifest names them with whom they were on
    /// their way to.
    pub fn with_in_flight(mut self, in_flight: Vec<InFlightBytes>) -> Self {
        self.in_flight = in_flight;
        self
    }

    /// Bytes of rows in flight.
    pub fn in_flight_bytes(&self) -> usize {
        self.in_flight.iter().map(|r| r.bytes.len()).sum()
    }

    /// Bytes to write, without what tables have elsewhere than in memory.
    pub fn new_bytes(&self) -> usize {
        let runs = self.operators.iter().flat_map(|o| &o.chains).flat_map(|c| &c.new);
        let entries = self.operators.iter().flat_map(|o| &o.entries);
        let state = runs.map(|r| r.bytes.len()).sum::<usize>() + entries.map(|e| e.bytes.len()).sum::<usize>();
        state + self.in_flight_bytes()
    }

    /// Writes what tables have elsewhere than in memory, run by run; what fits into one run goes with the rest.
    async fn write_cold(&mut self, writer: &StateWriter) -> Result<u64, StateError> {
        let owner = self.operators.first().map_or(OperatorId(0), |o| o.id);
        let (mut written_bytes, mut files, mut together_bytes) = (0, 0, 0);
        for chain in self.operators.iter_mut().flat_map(|o| &mut o.chains) {
            let mut is_first = true;
            while let Some(mut parts) = chain.cold.take() {
                let made = tokio::task::spawn_blocking(move || {
                    let run = parts.next();
                    (parts, run)
                });
                let (parts, run) = made
                    .await
                    .map_err(|e| StateError::Broken(format!("state could not be encoded: {e}")))?;
                let Some(EncodedRun { mut reference, bytes }) = run? else {
                    break;
                };
                let length = bytes.len() as u64;
                // Of many tables, such as the slices of windows, each may fit while all together do not.
                if is_first && parts.is_done() && together_bytes + length <= TOGETHER_BYTES {
                    together_bytes += length;
                    chain.new.insert(0, EncodedRun { reference, bytes });
                    break;
                }
                is_first = false;
                let path = writer
                    .write_part(owner, self.subtask, files, Bytes::from(bytes))
                    .await?;
                reference.location = Location::File {
                    path,
                    offset: 0,
                    length,
                };
                chain.existing.push(reference);
                chain.cold = Some(parts);
                (written_bytes, files) = (written_bytes + length, files + 1);
            }
        }
        Ok(written_bytes)
    }

    /// Writes the subtask's file, if there is enough for one.
    ///
    /// # Errors
    /// If the file cannot be written, or rows that are elsewhere than in memory cannot be read.
    pub async fn write(mut self, writer: &StateWriter) -> Result<WrittenSnapshots, StateError> {
        let cold_bytes = self.write_cold(writer).await?;
        let new_bytes = self.new_bytes();
        let mut locations = Vec::new();
        if new_bytes > INLINE_BYTES {
            let content: PutPayload = self.take_parts(&mut locations).into_iter().collect();
            let owner = self.operators.first().map_or(OperatorId(0), |o| o.id);
            let path = writer.write(owner, self.subtask, content).await?;
            for location in &mut locations {
                if let Location::File { path: of, .. } = location {
                    of.clone_from(&path);
                }
            }
        } else {
            locations = self.take_inline();
        }
        let written = self.describe(locations);
        Ok(WrittenSnapshots {
            written_bytes: new_bytes as u64 + cold_bytes,
            ..written
        })
    }

    /// Keeps everything in the manifest, for who has no place for files.
    ///
    /// # Errors
    /// If a table has rows elsewhere than in memory: of those there may be any number.
    pub fn inline(mut self) -> Result<WrittenSnapshots, StateError> {
        if self.operators.iter().flat_map(|o| &o.chains).any(|c| c.cold.is_some()) {
            let text = "state that lies partly on disk does not go into a manifest: set 'execution.checkpointing.dir'";
            return Err(StateError::Backend(text.to_owned()));
        }
        let written_bytes = self.new_bytes() as u64;
        let locations = self.take_inline();
        Ok(WrittenSnapshots {
            written_bytes,
            ..self.describe(locations)
        })
    }

    /// All new bytes as parts of the manifest, in the order of [`Self::describe`].
    fn take_inline(&mut self) -> Vec<Location> {
        let mut locations = vec![];
        for operator in &mut self.operators {
            let runs = operator.chains.iter_mut().flat_map(|c| &mut c.new);
            let runs = runs.map(|r| Bytes::from(std::mem::take(&mut r.bytes)));
            let entries = operator.entries.iter().map(|e| e.bytes.clone());
            locations.extend(runs.chain(entries).map(|b| Location::Inline(InlineBytes(b))));
        }
        let in_flight = self.in_flight.iter().map(|r| r.bytes.clone());
        locations.extend(in_flight.map(|b| Location::Inline(InlineBytes(b))));
        locations
    }

    /// All new bytes, piece by piece and uncopied; where each lies in the file is appended to `locations`, in the order of
    /// [`Self::describe`].
    fn take_parts(&mut self, locations: &mut Vec<Location>) -> Vec<Bytes> {
        let mut parts = Vec::new();
        let mut offset = 0;
        let mut add = |bytes: Bytes| {
            let length = bytes.len() as u64;
            locations.push(Location::File {
                path: String::new(),
                offset,
                length,
            });
            offset += length;
            parts.push(bytes);
        };
        for operator in &mut self.operators {
            for run in operator.chains.iter_mut().flat_map(|c| &mut c.new) {
                add(std::mem::take(&mut run.bytes).into());
            }
            operator.entries.iter().for_each(|e| add(e.bytes.clone()));
        }
        self.in_flight.iter().for_each(|r| add(r.bytes.clone()));
        parts
    }

    fn describe(self, locations: Vec<Location>) -> WrittenSnapshots {
        let mut locations = locations.into_iter();
        let mut next = || locations.next().unwrap_or(Location::Inline(InlineBytes::default()));
        let mut books = Vec::new();
        let mut parts = Vec::new();
        let mut in_memory_bytes = Vec::new();
        for operator in self.operators {
            let mut subtask = SubtaskManifest {
                index: self.subtask,
                ..SubtaskManifest::default()
            };
            let mut in_memory = 0;
            for chain in operator.chains {
                let mut runs = chain.existing;
                for new in chain.new {
                    runs.push(RunRef {
                        location: next(),
                        ..new.reference
                    });
                }
                if let Some(book) = chain.book {
                    book.record(self.checkpoint, Arc::new(runs.clone()));
                    books.push(book);
                }
                if !chain.is_tiered {
                    in_memory += runs.iter().map(RunRef::bytes).sum::<u64>();
                }
                subtask.runs.extend(runs);
            }
            in_memory_bytes.push((operator.id, in_memory));
            subtask
                .entries
                .extend(operator.entries.into_iter().map(|entry| EntryRef {
                    crc32c: crc32c::crc32c(&entry.bytes),
                    name: entry.name,
                    redistribute: entry.redistribute,
                    location: next(),
                }));
            subtask.committables = operator.committables.into_iter().map(InlineBytes).collect();
            parts.push(OperatorPart {
                id: operator.id,
                tables: operator.tables,
                subtask,
            });
        }
        let in_flight_bytes = self.in_flight.iter().map(|r| r.bytes.len() as u64).sum();
        for rows in self.in_flight {
            let reference = InFlightRef {
                place: rows.place,
                crc32c: crc32c::crc32c(&rows.bytes),
                location: next(),
            };
            let subtask = SubtaskManifest {
                index: rows.subtask,
                in_flight: vec![reference],
                ..SubtaskManifest::default()
            };
            parts.push(OperatorPart {
                id: rows.operator,
                tables: vec![],
                subtask,
            });
        }
        WrittenSnapshots {
            written_bytes: 0,
            in_flight_bytes,
            state_bytes: parts.iter().map(|p| p.subtask.state_bytes()).sum(),
            parts,
            in_memory_bytes,
            ticket: ConfirmationTicket {
                checkpoint: self.checkpoint,
                books,
            },
        }
    }
}

/// Reads an operator's state for `parallelism` new subtasks, checksums included: what comes back can be applied.
///
/// # Errors
/// If files are damaged or missing, or there are more subtasks than key groups.
pub async fn load_operator(
    root: &Root,
    operator: &OperatorManifest,
    parallelism: usize,
) -> Result<Vec<RestoredState>, StateError> {
    let mut states = Vec::with_capacity(parallelism);
    for subtask in restore_plan(operator, parallelism)? {
        states.push(load_subtask(root, operator, &subtask).await?);
    }
    Ok(states)
}

/// Reads the state of one new subtask: of each run its header and the blocks of the subtask's key groups.
///
/// # Errors
/// If files are damaged or missing. A damaged local copy is not: then the store is read.
pub async fn load_subtask(
    root: &Root,
    operator: &OperatorManifest,
    subtask: &SubtaskRestore,
) -> Result<RestoredState, StateError> {
    load_beyond(root, operator, subtask, PreloadedState::default()).await
}

/// The same where tables have been filled ahead: what they hold is not read again.
///
/// # Errors
/// As [`load_subtask`].
pub async fn load_beyond(
    root: &Root,
    operator: &OperatorManifest,
    subtask: &SubtaskRestore,
    mut preloaded: PreloadedState,
) -> Result<RestoredState, StateError> {
    let known = preloaded.known(&subtask.runs);
    let store = root.without_copies();
    let (state, listed) = match (load_from(root, operator, subtask, &known).await, store) {
        (Err(error), Some(store)) if error.is_damage() => {
            tracing::warn!(operator = operator.name, %error, "the local copy of state cannot be used; the store is read");
            load_from(&store, operator, subtask, &known).await?
        }
        (loaded, _) => loaded?,
    };
    Ok(state.with_preloaded(listed, preloaded))
}

async fn load_from(
    root: &Root,
    operator: &OperatorManifest,
    subtask: &SubtaskRestore,
    known: &[Option<KnownRun>],
) -> Result<(RestoredState, Vec<ListedRun>), StateError> {
    let tables: Vec<Arc<TableDescriptor>> = operator.tables.iter().cloned().map(Arc::new).collect();
    let mut reads: Vec<BoxFuture<'_, Result<Option<LoadedRun>, StateError>>> = Vec::new();
    let mut run_bytes = 0;
    for (run, known) in subtask.runs.iter().zip(known) {
        let descriptor = tables.iter().find(|t| t.name == run.table).cloned();
        let descriptor = descriptor.ok_or_else(|| StateError::DamagedRun {
            table: run.table.clone(),
            place: "the manifest".to_owned(),
            problem: "it does not say what the table holds".to_owned(),
        })?;
        if let Some(read) = known {
            let known = read.as_ref().map(|read| known_run(root, read, descriptor));
            reads.push(Box::pin(std::future::ready(Ok(known))));
            continue;
        }
        run_bytes += run.bytes();
        let is_kept = run_bytes <= KEPT_BYTES;
        reads.push(Box::pin(load_run(root, run, descriptor, is_kept)));
    }
    let runs: Vec<Option<LoadedRun>> = futures::stream::iter(reads)
        .buffered(CONCURRENT_READS)
        .try_collect()
        .await?;
    let mut entries = Vec::with_capacity(subtask.entries.len());
    for entry in &subtask.entries {
        let bytes = read_entry(root, entry).await?;
        entries.push(OperatorEntry {
            name: entry.name.clone(),
            bytes,
            redistribute: entry.redistribute,
        });
    }
    let mut in_flight = Vec::with_capacity(subtask.in_flight.len());
    for share in &subtask.in_flight {
        let InFlightRef {
            place,
            crc32c,
            location,
        } = &share.rows;
        in_flight.push(RestoredInFlight {
            subtask: share.subtask,
            parallelism: share.parallelism,
            place: *place,
            bytes: read_checked(root, location, *crc32c, || "rows in flight".to_owned()).await?,
        });
    }
    let committables = subtask.committables.iter().map(|c| c.0.clone()).collect();
    let read = runs.iter().map(|run| run.as_ref().map(|run| run.reference.clone()));
    let listed = subtask.runs.iter().cloned().zip(read).collect();
    let runs = runs.into_iter().flatten().collect();
    let state = RestoredState::new(runs, entries, committables).with_in_flight(in_flight);
    Ok((state, listed))
}

/// A run that a table holds already, as it was `read` before.
fn known_run(root: &Root, read: &RunRef, descriptor: Arc<TableDescriptor>) -> LoadedRun {
    LoadedRun {
        descriptor,
        reference: read.clone(),
        header: Bytes::new(),
        blocks: Bytes::new(),
        blocks_from: 0,
        later: Some(LaterBlocks {
            root: root.clone(),
            location: read.location.clone(),
            bytes: 0,
            runtime: tokio::runtime::Handle::current(),
            is_known: true,
        }),
    }
}

/// Reads an entry of operator state.
///
/// # Errors
/// If its file is damaged or missing.
pub async fn read_entry(root: &Root, entry: &EntryRef) -> Result<Bytes, StateError> {
    let what = || format!("state '{}'", entry.name);
    read_checked(root, &entry.location, entry.crc32c, what).await
}

/// Reads bytes whose checksum the manifest has; `what` they are is for errors.
async fn read_checked(
    root: &Root,
    location: &Location,
    checksum: u32,
    what: impl Fn() -> String,
) -> Result<Bytes, StateError> {
    let bytes = root.read(location, 0..location.len()).await?;
    if crc32c::crc32c(&bytes) != checksum {
        let path = root.display(location.path().unwrap_or("the manifest"));
        let problem = format!("the checksum of {} does not match", what());
        return Err(CheckpointError::DamagedFile { path, problem }.into());
    }
    Ok(bytes)
}

/// A run with the blocks of the key groups for which it is read; `None` if it has none.
async fn load_run(
    root: &Root,
    run: &RunRef,
    descriptor: Arc<TableDescriptor>,
    is_kept: bool,
) -> Result<Option<LoadedRun>, StateError> {
    let header_bytes = u64::from(run.header_bytes);
    let length = run.location.len();
    let whole = if length <= SMALL_RUN_BYTES {
        Some(root.read(&run.location, 0..length).await?)
    } else {
        None
    };
    let header = match &whole {
        Some(whole) => whole.slice(..whole.len().min(header_bytes as usize)),
        None => root.read(&run.location, 0..header_bytes).await?,
    };
    let reader = RunReader::new(run, &descriptor, &header)?;
    let groups = run.groups();
    let Some(wanted) = reader.bytes_of(groups) else {
        return Ok(None);
    };
    if let (Some(_), Some(whole), Location::Inline(_)) = (&run.within, &whole, &run.location) {
        // A part of what lies in the manifest does not bring the rest along.
        let blocks = whole
            .get(wanted.start as usize..wanted.end as usize)
            .unwrap_or_default();
        let reference = reader.cut(&header, groups, blocks);
        let bytes = root.read(&reference.location, 0..reference.location.len()).await?;
        let (header, blocks) = (
            bytes.slice(..reference.header_bytes as usize),
            bytes.slice(reference.header_bytes as usize..),
        );
        let blocks_from = u64::from(reference.header_bytes);
        RunReader::new(&reference, &descriptor, &header)?.verify(&blocks, blocks_from, groups)?;
        return Ok(Some(LoadedRun {
            descriptor,
            reference,
            header,
            blocks,
            blocks_from,
            later: None,
        }));
    }
    let part = RunPart {
        key_groups: groups,
        rows: reader.blocks_of(groups).map(|block| block.rows as u64).sum(),
        bytes: wanted.end - wanted.start,
    };
    let later = (!is_kept).then(|| LaterBlocks {
        root: root.clone(),
        location: run.location.clone(),
        bytes: wanted.end - wanted.start,
        runtime: tokio::runtime::Handle::current(),
        is_known: false,
    });
    let blocks = match &whole {
        _ if !is_kept => {
            for piece in reader.pieces_of(groups, PIECE_BYTES) {
                let blocks = root.read(&run.location, piece.clone()).await?;
                reader.verify_piece(&blocks, piece, groups)?;
            }
            Bytes::new()
        }
        Some(whole) => {
            let end = (wanted.end as usize).min(whole.len());
            whole.slice((wanted.start as usize).min(end)..end)
        }
        None => root.read(&run.location, wanted.clone()).await?,
    };
    if is_kept {
        reader.verify(&blocks, wanted.start, groups)?;
    }
    Ok(Some(LoadedRun {
        descriptor,
        reference: RunRef {
            within: run.within.map(|_| part),
            ..run.clone()
        },
        header,
        blocks,
        blocks_from: wanted.start,
        later,
    }))
}
