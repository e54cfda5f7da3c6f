//! What must be true after every step, and at the end.
//!
//! * The log shows every split from its first record on, each record once, with the right sum ([`super::transactions`]).
//! * The checkpoint that a next leader would restore is there whole; nothing that it lists was given up, and nothing is committed
//!   beyond it.
//! * A transaction is committed only if a manifest that counts lists it, and never for one of an earlier generation than was committed
//!   for before.
//! * The job's end is noted once, and no checkpoint is taken behind it.

use super::job;
use super::store::{get, list};
use super::world::{World, lock};
use flott_checkpoint::layout::{self, Entry};
use flott_checkpoint::{Facts, ListedFile, Location, Manifest, SnapshotId};
use flott_core::Generation;
use flott_runtime::task::SPLITS_STATE;
use futures::future::FutureExt;
use object_store::GetOptions;
use object_store::path::Path;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is kept of the past for the checks.
#[derive(Default)]
pub struct Books {
    /// The generation that each JobManager has claimed last.
    claimed: BTreeMap<usize, Generation>,
    /// Positions of splits in the files of sources, by path.
    positions: BTreeMap<String, Vec<(String, i64)>>,
    manifests: BTreeMap<SnapshotId, Arc<Summary>>,
    /// The newest checkpoint that anything was committed for.
    committing: Option<SnapshotId>,
    /// How the job has ended by its log.
    pub end: Option<String>,
    /// Whether a user has asked for an end.
    pub is_stop_asked: bool,
    pub is_cancel_asked: bool,
}

/// What matters of a manifest.
struct Summary {
    files: BTreeSet<String>,
    transactions: Vec<String>,
    positions: BTreeMap<String, i64>,
}

/// Notes where the splits in a source's file are.
pub fn note_positions(world: &World, path: &str, positions: Vec<(String, i64)>) {
    lock(&world.books).positions.insert(path.to_owned(), positions);
}

/// Notes which generation a JobManager claims.
pub fn claims(world: &World, process: usize, path: &str) {
    if let Some(Entry::Claim(generation)) = path.strip_prefix(&job::checkpoint_folder()).map(layout::parse) {
        lock(&world.books).claimed.insert(process, generation);
    }
}

/// The generation that a JobManager has claimed last.
pub fn claimed_by(world: &World, process: usize) -> Generation {
    lock(&world.books).claimed.get(&process).copied().unwrap_or(0)
}

/// Whether a file of the job's checkpoints tells of a leader behind a JobManager.
pub fn is_of_later(world: &World, process: usize, path: &str) -> bool {
    match layout::parse(path) {
        Entry::Claim(generation) | Entry::Claimed(generation) | Entry::Base(generation, ..) => {
            generation > claimed_by(world, process)
        }
        _ => false,
    }
}

/// Looks whether all is right when a file has come or gone.
pub fn changed(world: &Arc<World>, path: &str) {
    if let Some(path) = path.strip_prefix(&job::checkpoint_folder()) {
        let is_put = is_there(world, &format!("{}{path}", job::checkpoint_folder()));
        match layout::parse(path) {
            Entry::Manifest(generation, checkpoint) if is_put => {
                let id = SnapshotId { generation, checkpoint };
                let end = lock(&world.books).end.clone();
                match end {
                    Some(end) => world.trace(|| format!("{id} comes behind the end, {end}")),
                    None => check_restorable(world),
                }
            }
            Entry::State(_) if is_put => {}
            Entry::Claim(_) | Entry::Claimed(_) | Entry::Unknown | Entry::Committed(..) => {}
            Entry::Manifest(..) | Entry::Base(..) | Entry::State(_) => check_restorable(world),
        }
    } else if path.starts_with(&job::log_folder()) {
        noted(world, path);
    }
}

fn is_there(world: &World, path: &str) -> bool {
    get(world, &Path::from(path), GetOptions::default()).is_ok()
}

fn read(world: &World, path: &str) -> Option<bytes::Bytes> {
    let found = get(world, &Path::from(path), GetOptions::default()).ok()?;
    found.bytes().now_or_never()?.ok()
}

/// An entry of the job's log.
fn noted(world: &Arc<World>, path: &str) {
    let Some(content) = read(world, path) else {
        return;
    };
    // Notes of attempts lie there, too.
    let entry: serde_json::Value = serde_json::from_slice(&content).unwrap_or_default();
    let Some(ended) = entry.get("Ended") else {
        return;
    };
    let status = ended["status"].as_str().unwrap_or_default().to_owned();
    let before = lock(&world.books).end.replace(status.clone());
    if let Some(before) = before {
        world.violated(format!("the end is told twice: {before}, then {status}"));
    }
}

fn facts(world: &World) -> Facts {
    let folder = job::checkpoint_folder();
    let found = list(world, Some(&Path::from(folder.as_str()))).unwrap_or_default();
    Facts::from_listing(found.into_iter().map(|meta| ListedFile {
        path: meta.location.as_ref()[folder.len()..].to_owned(),
        bytes: meta.size,
        modified_ms: 0,
    }))
}

fn summary(world: &World, id: SnapshotId) -> Option<Arc<Summary>> {
    if let Some(known) = lock(&world.books).manifests.get(&id) {
        return Some(known.clone());
    }
    let path = layout::manifest(id.generation, id.checkpoint);
    let content = read(world, &format!("{}{path}", job::checkpoint_folder()))?;
    let manifest = Manifest::decode(&content, &path).unwrap();
    let mut books = lock(&world.books);
    let summary = Arc::new(summarize(&manifest, &books.positions));
    books.manifests.insert(id, summary.clone());
    Some(summary)
}

fn summarize(manifest: &Manifest, positions: &BTreeMap<String, Vec<(String, i64)>>) -> Summary {
    let subtasks = || manifest.operators.iter().flat_map(|o| &o.subtasks);
    let committables = subtasks().flat_map(|s| &s.committables);
    let splits = subtasks().flat_map(|s| &s.entries).filter(|e| e.name == SPLITS_STATE);
    let paths: BTreeSet<&str> = splits.filter_map(|e| Location::path(&e.location)).collect();
    Summary {
        files: manifest.files(),
        transactions: committables
            .map(|c| String::from_utf8_lossy(&c.0).into_owned())
            .collect(),
        positions: paths
            .into_iter()
            .filter_map(|path| positions.get(path))
            .flatten()
            .cloned()
            .collect(),
    }
}

/// Looks at what a next leader would restore.
pub fn check_restorable(world: &Arc<World>) {
    if lock(&world.books).end.is_some() {
        return;
    }
    if let Err(what) = restorable(world) {
        world.violated(what);
    }
}

fn restorable(world: &Arc<World>) -> Result<(), String> {
    let facts = facts(world);
    let Some(newest) = facts.candidates().first().copied() else {
        let is_lost = lock(&world.books).committing.is_some();
        return match is_lost {
            true => Err("sinks have committed, and no checkpoint is left to restore".to_owned()),
            false => Ok(()),
        };
    };
    let Some(summary) = summary(world, newest) else {
        return Err(format!("the manifest of {newest} cannot be read"));
    };
    if let Some(path) = summary.files.iter().find(|path| !facts.files.contains_key(*path)) {
        return Err(format!("{newest} is the one to restore, and its file {path} is gone"));
    }
    let log = lock(&world.log);
    if let Some(id) = summary.transactions.iter().find(|id| !log.is_kept(id)) {
        return Err(format!(
            "{newest} is the one to restore, and transaction {id} that it lists was given up"
        ));
    }
    for number in 0..world.shape.splits {
        let split = format!("s{number}");
        let (committed, position) = (
            log.committed(&split),
            summary.positions.get(&split).copied().unwrap_or(0),
        );
        if committed > position {
            return Err(format!(
                "{newest} is the one to restore, from {position} of {split}, of which {committed} records are committed"
            ));
        }
    }
    Ok(())
}

/// A transaction was open until now, and is committed.
pub fn committed(world: &Arc<World>, id: &str) {
    let facts = facts(world);
    let lists = |of: &SnapshotId| summary(world, *of).is_some_and(|s| s.transactions.iter().any(|t| t == id));
    let Some(newest) = facts.candidates().into_iter().find(lists) else {
        return world.violated(format!(
            "transaction {id} is committed, and no manifest that counts lists it"
        ));
    };
    let before = lock(&world.books).committing.replace(newest);
    if before.is_some_and(|before| before > newest) {
        return world.violated(format!(
            "transaction {id} is committed for {newest} behind one for a later checkpoint, {before:?}"
        ));
    }
    check_restorable(world);
}

/// Looks at what is left when the job has ended.
///
/// # Errors
/// What is wrong.
pub fn check_end(world: &Arc<World>) -> Result<(), String> {
    let (end, is_stop_asked, is_cancel_asked) = {
        let books = lock(&world.books);
        (books.end.clone(), books.is_stop_asked, books.is_cancel_asked)
    };
    let log = lock(&world.log);
    let committed: Vec<i64> = (0..world.shape.splits)
        .map(|n| log.committed(&format!("s{n}")))
        .collect();
    drop(log);
    let is_whole = world
        .shape
        .limit
        .is_some_and(|limit| committed.iter().all(|c| *c == limit));
    match end.as_deref() {
        None => Err("the job has not ended, though nothing fails any more".to_owned()),
        Some("FINISHED") if is_whole => Ok(()),
        Some("FINISHED") if is_stop_asked => match restorable_positions(world) {
            Some(positions) if positions == committed => Ok(()),
            other => Err(format!(
                "the job was stopped with {committed:?} committed, and can go on from {other:?}"
            )),
        },
        Some("CANCELED") if is_cancel_asked || is_stop_asked => Ok(()),
        Some(end) => Err(format!(
            "the job is {end} with {committed:?} records of its splits committed"
        )),
    }
}

/// Where the newest checkpoint goes on, by split.
fn restorable_positions(world: &World) -> Option<Vec<i64>> {
    let newest = *facts(world).candidates().first()?;
    let summary = summary(world, newest)?;
    let position = |n: usize| summary.positions.get(&format!("s{n}")).copied().unwrap_or(0);
    Some((0..world.shape.splits).map(position).collect())
}
