//! Who may write, which checkpoint is the newest, what may be deleted: pure decisions over what a listing shows.
//!
//! Put-if-absent is the only primitive. The rules:
//!
//! 1. **Claim.** A process that wants to lead creates `gen-N` with N above all that it sees. The highest claim leads; all others
//!    are fenced and may write no manifest, commit nothing and delete nothing.
//! 2. **Base.** A leader that restores a checkpoint first says which (`base-N-…`). From then on every manifest of an earlier
//!    generation that is not part of that checkpoint's past is void: a fenced leader may have completed it after the new one
//!    looked, and what it prepared in sinks has been given up since. One that starts from nothing because there is nothing says so, too
//!    (`base-N-g0-0`).
//! 3. **Complete.** A checkpoint exists when its manifest does. A leader looks at the claims, puts the manifest, and looks again;
//!    only if it still leads it may commit. Whoever claims in between sees the manifest, or is seen:
//!
//! ```text
//! old leader    put manifest ........ list claims  (sees the new claim: no commit)
//! new leader    put claim ........... list manifests (sees the manifest: restores it, and commits what it lists)
//! ```
//!
//! 4. **Delete.** A leader deletes manifests that its own newer ones supersede, then files that no manifest refers to any more.
//!    What a crash leaves is swept by age. A run without `--restore` never deletes what an earlier run left.
//! 5. **Own.** What a leader finds by path stays somebody else's, unless it claims it (`claimed-N`) before it writes anything: then it is
//!    the oldest of its past, and rule 4 holds for it.

use crate::layout::{self, Entry};
use crate::root::ListedFile;
use flott_core::{CheckpointId, Generation};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Names a checkpoint within a job's folder. Newer ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId {
    /// Who took it.
    pub generation: Generation,
    /// Its number.
    pub checkpoint: CheckpointId,
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "checkpoint {} of generation {}", self.checkpoint, self.generation)
    }
}

/// What a listing of a job's folder shows.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Claims of leadership.
    pub claims: BTreeSet<Generation>,
    /// What generations restored.
    pub bases: BTreeMap<Generation, SnapshotId>,
    /// Generations that have claimed what they found by path.
    pub claimed: BTreeSet<Generation>,
    /// Manifests.
    pub manifests: BTreeSet<SnapshotId>,
    /// Checkpoints whose commits are known to be done.
    pub committed: BTreeSet<SnapshotId>,
    /// State files by path, and leftovers, with size and age.
    pub files: BTreeMap<String, ListedFile>,
}

/// Whether a generation may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leadership {
    /// It is the highest claim.
    Leads,
    /// It must stop: a higher one exists.
    Fenced {
        /// The highest claim.
        newest: Generation,
    },
}

impl Facts {
    /// The facts of a listing with paths relative to the job's folder.
    pub fn from_listing(listing: impl IntoIterator<Item = ListedFile>) -> Self {
        let mut facts = Self::default();
        let id = |generation, checkpoint| SnapshotId { generation, checkpoint };
        for file in listing {
            match layout::parse(&file.path) {
                Entry::Claim(generation) => drop(facts.claims.insert(generation)),
                Entry::Base(generation, of, checkpoint) => drop(facts.bases.insert(generation, id(of, checkpoint))),
                Entry::Claimed(generation) => drop(facts.claimed.insert(generation)),
                Entry::Manifest(generation, checkpoint) => drop(facts.manifests.insert(id(generation, checkpoint))),
                Entry::Committed(generation, checkpoint) => drop(facts.committed.insert(id(generation, checkpoint))),
                Entry::State(_) => drop(facts.files.insert(file.path.clone(), file)),
                Entry::Unknown => {}
            }
        }
        facts
    }

    /// The generation that a new leader claims.
    pub fn next_generation(&self) -> Generation {
        let of_manifests = self.manifests.iter().map(|m| m.generation);
        self.claims.iter().copied().chain(of_manifests).max().unwrap_or(0) + 1
    }

    /// The number of a new leader's first checkpoint: above every number seen, so that folders are not shared.
    pub fn next_checkpoint(&self) -> CheckpointId {
        let of_files = self.files.keys().filter_map(|path| match layout::parse(path) {
            Entry::State(checkpoint) => Some(checkpoint),
            _ => None,
        });
        let of_manifests = self.manifests.iter().map(|m| m.checkpoint);
        of_files.chain(of_manifests).max().unwrap_or(0) + 1
    }

    /// Whether `generation` may write.
    pub fn leadership(&self, generation: Generation) -> Leadership {
        match self.claims.last() {
            Some(newest) if *newest > generation => Leadership::Fenced { newest: *newest },
            _ => Leadership::Leads,
        }
    }

    /// Whether a manifest does not count any more, because a later generation restored another past (rule 2).
    ///
    /// A generation that was overtaken between its look and its note may note a base late. That does not make void what a
    /// generation after it has restored.
    pub fn is_void(&self, snapshot: SnapshotId) -> bool {
        let excludes = |generation: Generation, base: SnapshotId| snapshot.generation < generation && snapshot > base;
        let is_restored_after = |generation: Generation| {
            let mut later = self.bases.range(generation + 1..);
            later.any(|(_, base)| *base == snapshot)
        };
        self.bases
            .iter()
            .any(|(generation, base)| excludes(*generation, *base) && !is_restored_after(*generation))
    }

    /// Checkpoints to restore from, the newest first.
    pub fn candidates(&self) -> Vec<SnapshotId> {
        let mut candidates: Vec<_> = self.manifests.iter().copied().filter(|m| !self.is_void(*m)).collect();
        candidates.sort_by_key(|m| Reverse(*m));
        candidates
    }

    /// Generations from `generation` back over what each restored.
    fn lineage(&self, generation: Generation) -> BTreeSet<Generation> {
        let mut lineage = BTreeSet::from([generation]);
        let mut at = generation;
        while let Some(base) = self.bases.get(&at)
            && lineage.insert(base.generation)
        {
            at = base.generation;
        }
        lineage
    }

    /// Manifests that generation `ours` may delete once `newest` is its newest: those of its own past beyond the `retained`
    /// newest ones. None if it does not lead, or has not completed `newest`.
    pub fn superseded(&self, ours: Generation, newest: SnapshotId, retained: usize) -> Vec<SnapshotId> {
        let Some((void, mut valid)) = self.past(ours, newest) else {
            return Vec::new();
        };
        valid.sort_by_key(|m| Reverse(*m));
        let beyond = valid.split_off(retained.min(valid.len()));
        void.into_iter().chain(beyond).collect()
    }

    /// Manifests of the past of generation `ours`: those that do not count, and those that do. `None` if it does not lead, or has not
    /// completed `newest`.
    fn past(&self, ours: Generation, newest: SnapshotId) -> Option<(Vec<SnapshotId>, Vec<SnapshotId>)> {
        let has_completed = newest.generation == ours && self.manifests.contains(&newest);
        if self.leadership(ours) != Leadership::Leads || !has_completed {
            return None;
        }
        let lineage = self.lineage(ours);
        let past = self.manifests.iter().filter(|m| lineage.contains(&m.generation));
        Some(past.partition(|m| self.is_void(**m)))
    }

    /// Whether what was claimed before all checkpoints of the past of generation `ours` is one too many: there are `retained` newer ones.
    pub fn is_claim_superseded(&self, ours: Generation, newest: SnapshotId, retained: usize) -> bool {
        self.past(ours, newest)
            .is_some_and(|(_, valid)| valid.len() >= retained)
    }

    /// The generation of the past of `ours` that has claimed what it started from, if one has: a past begins with it.
    pub fn claim_of(&self, ours: Generation) -> Option<Generation> {
        let lineage = self.lineage(ours);
        self.claimed
            .iter()
            .copied()
            .find(|generation| lineage.contains(generation))
    }

    /// Files that a leader may sweep: of no manifest that exists (`referenced` has all their files), and last written at least
    /// `age_ms` ago. What may still be in the making is younger.
    pub fn sweepable(&self, ours: Generation, referenced: &BTreeSet<String>, now_ms: i64, age_ms: i64) -> Vec<String> {
        if self.leadership(ours) != Leadership::Leads {
            return Vec::new();
        }
        let files = self.files.values();
        let old = files.filter(|f| f.modified_ms.saturating_add(age_ms) <= now_ms && !referenced.contains(&f.path));
        let markers = self
            .committed
            .iter()
            .filter(|c| !self.manifests.contains(c))
            .map(|c| layout::committed(c.generation, c.checkpoint));
        let bases = self
            .bases
            .iter()
            .filter(|(generation, _)| {
                **generation < ours && !self.manifests.iter().any(|m| m.generation <= **generation)
            })
            .map(|(generation, base)| layout::base(*generation, base.generation, base.checkpoint));
        let claims = self.claims.iter().filter(|c| **c < ours).map(|c| layout::claim(*c));
        let lineage = self.lineage(ours);
        let is_over = |generation: &&Generation| {
            let has_none = !self.manifests.iter().any(|m| m.generation == **generation);
            **generation < ours && has_none && !lineage.contains(*generation)
        };
        let claimed = self.claimed.iter().filter(is_over).map(|c| layout::claimed(*c));
        old.map(|f| f.path.clone())
            .chain(markers)
            .chain(bases)
            .chain(claims)
            .chain(claimed)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(names: &[&str]) -> Facts {
        Facts::from_listing(names.iter().map(|name| ListedFile {
            path: (*name).to_owned(),
            bytes: 1,
            modified_ms: 0,
        }))
    }

    fn id(generation: Generation, checkpoint: CheckpointId) -> SnapshotId {
        SnapshotId { generation, checkpoint }
    }

    #[test]
    fn the_highest_claim_leads() {
        let f = facts(&["gen-1", "gen-3"]);
        assert_eq!(f.leadership(3), Leadership::Leads);
        assert_eq!(f.leadership(1), Leadership::Fenced { newest: 3 });
        assert_eq!((f.next_generation(), f.next_checkpoint()), (4, 1));
    }

    #[test]
    fn a_late_manifest_of_a_fenced_leader_is_void_once_the_base_is_known() {
        let late = ["gen-1", "gen-2", "chk-1/manifest-g1", "chk-2/manifest-g1"];
        assert_eq!(facts(&late).candidates(), [id(1, 2), id(1, 1)]);
        let with_base = [&late[..], &["base-2-g1-1"]].concat();
        assert_eq!(facts(&with_base).candidates(), [id(1, 1)]);
        // Generation 2 was overtaken while it noted its base; generation 3 has restored what it did not see.
        let with_later = [&with_base[..], &["gen-3", "base-3-g1-2"]].concat();
        assert_eq!(facts(&with_later).candidates(), [id(1, 2), id(1, 1)]);
        let with_newer = [&with_base[..], &["chk-3/manifest-g2"]].concat();
        assert_eq!(facts(&with_newer).candidates(), [id(2, 3), id(1, 1)]);
        assert_eq!(facts(&with_newer).next_checkpoint(), 4);
        let from_nothing = [&late[..], &["base-2-g0-0"]].concat();
        assert!(facts(&from_nothing).candidates().is_empty());
    }

    #[test]
    fn only_the_own_past_is_superseded() {
        let f = facts(&[
            "gen-1",
            "gen-2",
            "gen-3",
            "gen-4",
            "chk-1/manifest-g1",
            "chk-2/manifest-g1",
            // A fresh start, then a restore of its first checkpoint; its second came too late.
            "chk-3/manifest-g2",
            "chk-4/manifest-g2",
            "base-3-g2-3",
            "chk-5/manifest-g3",
            "chk-6/manifest-g3",
        ]);
        assert!(f.superseded(3, id(3, 6), 1).is_empty(), "generation 4 leads");
        let f = Facts {
            claims: BTreeSet::from([1, 2, 3]),
            ..f
        };
        assert_eq!(f.superseded(3, id(3, 6), 1), [id(2, 4), id(3, 5), id(2, 3)]);
        assert_eq!(f.superseded(3, id(3, 6), 2), [id(2, 4), id(2, 3)]);
        assert!(f.superseded(3, id(3, 7), 1).is_empty(), "not completed");
    }

    #[test]
    fn what_was_claimed_is_the_oldest_of_the_past() {
        let names = [
            "gen-1",
            "gen-2",
            "chk-1/manifest-g1",
            "claimed-2",
            "chk-2/manifest-g2",
            "gen-3",
            "base-3-g2-2",
            "chk-3/manifest-g3",
        ];
        let f = facts(&names);
        assert_eq!((f.claim_of(1), f.claim_of(2), f.claim_of(3)), (None, Some(2), Some(2)));
        let superseded = |retained| f.is_claim_superseded(3, id(3, 3), retained);
        assert_eq!((superseded(2), superseded(3)), (true, false));
        assert!(!f.is_claim_superseded(2, id(2, 2), 1), "generation 3 leads");
        let swept = |names: &[&str]| facts(names).sweepable(4, &BTreeSet::new(), 0, 100);
        let claimed = layout::claimed(2);
        let later = [&names[..], &["gen-4"]].concat();
        assert!(
            !swept(&later).contains(&claimed),
            "generation 4 starts afresh, and 3 may be gone on from"
        );
        assert!(swept(&["gen-3", "gen-4", "claimed-2"]).contains(&claimed));
    }

    #[test]
    fn sweeping_spares_what_is_young_or_referenced_or_strange() {
        let mut f = facts(&[
            "gen-1",
            "gen-2",
            "chk-1/a",
            "chk-1/b",
            "chk-1/c",
            "notes.txt",
            "chk-1/committed-g1",
        ]);
        f.files.get_mut("chk-1/b").unwrap().modified_ms = 950;
        let referenced = BTreeSet::from(["chk-1/c".to_owned()]);
        let mut swept = f.sweepable(2, &referenced, 1000, 100);
        swept.sort();
        assert_eq!(swept, ["chk-1/a", "chk-1/committed-g1", "gen-00000000000000000001"]);
        assert!(f.sweepable(1, &referenced, 1000, 100).is_empty());
    }
}
