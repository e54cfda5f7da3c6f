//! The open sessions of all keys: [`Sessions`].
//!
//! A row opens a session that lasts from its time until the gap has passed; sessions of one key that meet (touching counts,
//! as in Flink) become one. A session has a number, an index into an arena, that stays until it is closed. What
//! belongs to a session (accumulators, rows) is the operator's: it is told which sessions are new and which went into
//! others, after a whole batch, so that its own work is by columns.
//!
//! ```text
//! gap 4, rows of a key at 1, 9, 6     [1 ── 5)      [9 ── 13)         6 touches neither 5 … 10 touches 9:
//!                                     [1 ── 5) [6 ────── 13)          6 and 9 are one session
//! ```
//!
//! Nothing here reaches checkpoints: the operators rebuild it from their tables.
//!
//! Where the backend has tiers, keys go to disk with all their sessions, and come back with them when a row asks for the key or one of its
//! sessions ends: the operator follows ([`Sessions::take_moves`]), whose table has what the sessions need to be made again. What stays of
//! them is their ends, in a queue that may lie on disk itself.

use arrow_array::{Array, ArrayRef, Int64Array};
use arrow_select::concat::concat;
use flott_checkpoint::TableDescriptor;
use flott_core::hash::hash_columns;
use flott_core::{KeyGroupRange, LogicalType, TypeKind};
use flott_runtime::{OperatorContext, TaskError};
use flott_state::{KeyedTable, Moves, NO_SLOT, StateError, TimerQueue};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

/// In place of a session's number: the row came too late for any.
pub(crate) const LATE: u32 = u32::MAX;

/// Keys whose sessions end that are brought from disk together at most.
const WOKEN_AT_ONCE: usize = 1024;
/// Ends in memory that are of no use, besides as many as there are sessions, before they are looked for.
const IDLE_ENDS: usize = 1024;
/// About what a session takes here.
const SESSION_BYTES: usize = size_of::<Session>() + 2 * size_of::<(i64, u32)>() + size_of::<u32>();

/// A session that is open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session {
    /// Time of its first row.
    pub(crate) start: i64,
    /// Time of its last row, and the gap.
    pub(crate) end: i64,
    /// Tells sessions of a key apart: the time of the row that opened it. The session always holds that time, so no other
    /// session of the key can get it.
    pub(crate) id: i64,
    /// Where the operator keeps it; [`NO_SLOT`] while it is new.
    pub(crate) slot: u32,
    group: u32,
    /// Under which end it waits in the queue; `i64::MIN` once it is gone.
    queued: i64,
}

/// Where the rows of a batch belong.
#[derive(Debug, Default)]
pub(crate) struct Assigned {
    /// The session of each row, or [`LATE`].
    pub(crate) of_row: Vec<u32>,
    /// Sessions that were opened, each with the row that did it; some may be among the absorbed.
    pub(crate) opened: Vec<(u32, u32)>,
    /// Sessions that are gone, each with the one that it is a part of now. To be given back by [`Sessions::forget`].
    pub(crate) absorbed: Vec<(u32, u32)>,
}

/// Open sessions by key and by end.
#[derive(Debug)]
pub(crate) struct Sessions {
    gap_ms: i64,
    /// Keys with open sessions.
    groups: KeyedTable,
    /// By the key's slot, its sessions in order of time.
    of_group: Vec<Vec<u32>>,
    arena: Vec<Session>,
    free: Vec<u32>,
    /// Ends, not after the sessions' real ones, which may have grown since.
    queue: BinaryHeap<Reverse<(i64, u32)>>,
    /// Keys on disk with the ends of their sessions, which may have grown or gone since; `None` where all keys are in memory.
    ends: Option<TimerQueue>,
    /// About how many bytes a key took here and in the operator when that was last looked at.
    bytes_a_key: usize,
}

impl Sessions {
    /// None yet, of keys of these types.
    pub(crate) fn new(gap_ms: i64, keys: Vec<LogicalType>) -> Self {
        Self {
            gap_ms,
            // Lives in no checkpoint, so its key groups mean nothing.
            groups: KeyedTable::new(TableDescriptor::new("sessions", keys), 1, KeyGroupRange::all(1)),
            of_group: vec![],
            arena: vec![],
            free: vec![],
            queue: BinaryHeap::new(),
            ends: None,
            bytes_a_key: 0,
        }
    }

    /// Lets keys lie on disk, where the backend has tiers. Without key columns there is one key, which stays.
    ///
    /// # Errors
    /// If there is no disk for them.
    pub(crate) fn open(&mut self, ctx: &OperatorContext) -> Result<(), TaskError> {
        let descriptor = Arc::clone(self.groups.descriptor());
        if descriptor.key.is_empty() {
            return Ok(());
        }
        self.groups = ctx.table(Arc::clone(&descriptor))?;
        if self.groups.is_tiered() {
            self.groups.track_moves();
            let mut key = descriptor.key.clone();
            key.push(LogicalType::not_null(TypeKind::BigInt));
            let ends = TableDescriptor::new("session-ends", key).placed_by(descriptor.key.len());
            self.ends = Some(TimerQueue::over(ctx.table_by_time(ends)?)?);
        }
        Ok(())
    }

    /// Whether keys may be on disk.
    pub(crate) fn is_tiered(&self) -> bool {
        self.ends.is_some()
    }

    /// How many sessions are in memory.
    pub(crate) fn len_in_memory(&self) -> usize {
        self.arena.len() - self.free.len()
    }

    /// Lets keys go that were not asked for lately, where memory holds more than it may with `bytes_beside` for what the operator keeps of
    /// their sessions. It follows then ([`Self::take_moves`]); numbers of sessions mean nothing behind that.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) fn relieve(&mut self, bytes_beside: usize) -> Result<(), StateError> {
        let beside = bytes_beside + self.len_in_memory() * SESSION_BYTES;
        if let Some(bytes_a_key) = beside.checked_div(self.groups.len_in_memory()) {
            self.bytes_a_key = bytes_a_key;
        }
        self.groups.relieve_beside(beside, 0, |_| false)
    }

    /// Which keys have left memory, and which have come.
    pub(crate) fn take_moves(&mut self) -> Moves {
        self.groups.take_moves()
    }

    /// Gives up the sessions of keys that have left memory.
    pub(crate) fn give_up(&mut self, left: &[u32]) -> Vec<(u32, Session)> {
        let mut gone = vec![];
        for &group in left {
            let Some(list) = self.of_group.get_mut(group as usize) else {
                continue;
            };
            gone.extend(std::mem::take(list).into_iter().map(|n| (n, self.arena[n as usize])));
        }
        self.forget(gone.iter().map(|(number, _)| *number));
        gone
    }

    /// Notes when sessions of keys that go to disk end.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) fn keep_ends(
        &mut self,
        mut keys: Vec<ArrayRef>,
        ends: impl Iterator<Item = i64>,
    ) -> Result<(), TaskError> {
        let Some(queue) = &mut self.ends else { return Ok(()) };
        let ends = Int64Array::from_iter_values(ends);
        let hashes = hash_columns(&keys, ends.len())?;
        keys.push(Arc::new(ends));
        Ok(queue.apply(&keys, &hashes, |_| false)?)
    }

    /// Forgets when the sessions of these groups end, which have come from disk.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) fn forget_ends(&mut self, came: &[u32]) -> Result<(), TaskError> {
        let (mut groups, mut ends) = (vec![], vec![]);
        for &group in came {
            let list = self.of_group.get(group as usize).into_iter().flatten();
            let of_group = list.map(|number| self.arena[*number as usize].end);
            ends.extend(of_group);
            groups.resize(ends.len(), group);
        }
        let mut keys = self.groups.keys(&groups)?;
        let hashes = hash_columns(&keys, groups.len())?;
        keys.push(Arc::new(Int64Array::from(ends)));
        match &mut self.ends {
            Some(queue) => Ok(queue.apply(&keys, &hashes, |_| true)?),
            None => Ok(()),
        }
    }

    /// The first end of a session on disk that `has_come`, or an earlier time.
    pub(crate) fn first_end_on_disk(&self, has_come: impl Fn(i64) -> bool) -> Option<i64> {
        self.ends.as_ref()?.next_ms().filter(|end| has_come(*end))
    }

    /// Brings keys into memory of which a session on disk may have an end that `has_come`: some of the earliest, no more than half of what
    /// memory may hold; the operator follows.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) fn wake(&mut self, has_come: impl Fn(i64) -> bool) -> Result<(), TaskError> {
        let allowed = self.groups.allowed_rows(self.bytes_a_key).unwrap_or(usize::MAX);
        let limit = (allowed / 2).clamp(1, WOKEN_AT_ONCE);
        let (mut woken, mut count) = (vec![], 0);
        while count < limit
            && let Some(end) = self.first_end_on_disk(&has_come)
        {
            let queue = self.ends.as_mut();
            if let Some(due) = queue.map_or(Ok(None), |queue| queue.take_due(end, limit - count))? {
                count += due.count;
                woken.push(due.keys);
            }
        }
        let columns = (0..self.groups.descriptor().key.len()).map(|i| {
            let parts: Vec<&dyn Array> = woken.iter().map(|keys| keys[i].as_ref()).collect();
            concat(&parts)
        });
        if count > 0 {
            let keys: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
            let hashes = hash_columns(&keys, count)?;
            self.groups.find(&keys, &hashes, &mut vec![])?;
        }
        Ok(())
    }

    /// The key columns of groups.
    ///
    /// # Errors
    /// If keys cannot be read.
    pub(crate) fn keys_of(&self, groups: &[u32]) -> Result<Vec<ArrayRef>, StateError> {
        self.groups.keys(groups)
    }

    /// A session by its number.
    pub(crate) fn get(&self, number: u32) -> &Session {
        &self.arena[number as usize]
    }

    /// Notes where the operator keeps a session.
    pub(crate) fn keep_at(&mut self, number: u32, slot: u32) {
        self.arena[number as usize].slot = slot;
    }

    /// Finds or opens the sessions of rows of these groups ([`Self::locate`]) and times. `is_late`: whether a session with
    /// that end has fired; a row that would open one is late, one that meets an open session never is.
    pub(crate) fn assign(&mut self, groups: &[u32], times: &[i64], mut is_late: impl FnMut(i64) -> bool) -> Assigned {
        let mut assigned = Assigned {
            of_row: Vec::with_capacity(times.len()),
            ..Assigned::default()
        };
        let mut left_empty = vec![];
        for (row, (&group, &time)) in groups.iter().zip(times).enumerate() {
            let end = time.saturating_add(self.gap_ms);
            let list = &self.of_group[group as usize];
            let session = |number: u32| &self.arena[number as usize];
            let from = list.partition_point(|number| session(*number).end < time);
            let to = from + list[from..].partition_point(|number| session(*number).start <= end);
            if from < to {
                assigned
                    .of_row
                    .push(self.join(group, from..to, (time, end), &mut assigned.absorbed));
            } else if is_late(end) {
                assigned.of_row.push(LATE);
                left_empty.push(group);
            } else {
                let number = self.begin(group, from, time, end);
                assigned.opened.push((number, row as u32));
                assigned.of_row.push(number);
            }
        }
        left_empty.retain(|g| self.of_group[*g as usize].is_empty());
        self.groups.remove(&left_empty);
        if !assigned.absorbed.is_empty() {
            assigned.resolve();
        }
        assigned
    }

    /// The group of each of so many rows with these keys and hashes of keys. It must not stay without a session.
    ///
    /// # Errors
    /// If the keys are not of the types given before.
    pub(crate) fn locate(&mut self, keys: &[ArrayRef], hashes: &[u64], rows: usize) -> Result<Vec<u32>, StateError> {
        let mut groups = Vec::with_capacity(rows);
        if rows == 0 {
            return Ok(groups);
        }
        if keys.is_empty() {
            self.groups.slots(keys, &hashes[..1], &mut groups)?;
            groups.resize(rows, groups[0]);
        } else {
            self.groups.slots(keys, hashes, &mut groups)?;
        }
        let needed = groups.iter().max().map_or(0, |g| *g as usize + 1);
        if self.of_group.len() < needed {
            self.of_group.resize_with(needed, Vec::new);
        }
        Ok(groups)
    }

    fn begin(&mut self, group: u32, position: usize, start: i64, end: i64) -> u32 {
        let session = Session {
            start,
            end,
            id: start,
            slot: NO_SLOT,
            group,
            queued: end,
        };
        // Sessions that come from disk again and again leave ends behind.
        if self.queue.len() > 2 * self.arena.len() + IDLE_ENDS {
            let mut ends = std::mem::take(&mut self.queue).into_vec();
            ends.retain(|Reverse((end, number))| self.arena[*number as usize].queued == *end);
            ends.sort_unstable();
            ends.dedup();
            self.queue = BinaryHeap::from(ends);
        }
        let number = match self.free.pop() {
            Some(number) => {
                self.arena[number as usize] = session;
                number
            }
            None => {
                self.arena.push(session);
                self.arena.len() as u32 - 1
            }
        };
        self.of_group[group as usize].insert(position, number);
        self.queue.push(Reverse((end, number)));
        number
    }

    /// Makes one of adjacent sessions of a key and a row; the one that is kept somewhere already goes on.
    fn join(
        &mut self,
        group: u32,
        places: std::ops::Range<usize>,
        (mut start, mut end): (i64, i64),
        absorbed: &mut Vec<(u32, u32)>,
    ) -> u32 {
        let list = &mut self.of_group[group as usize];
        let met = &list[places.clone()];
        let is_kept = |n: &&u32| self.arena[**n as usize].slot != NO_SLOT;
        let survivor = met.iter().find(is_kept).copied().unwrap_or(met[0]);
        for &number in met {
            let session = &mut self.arena[number as usize];
            start = start.min(session.start);
            end = end.max(session.end);
            if number != survivor {
                absorbed.push((number, survivor));
                session.queued = i64::MIN;
            }
        }
        if places.len() > 1 {
            list.splice(places, [survivor]);
        }
        let session = &mut self.arena[survivor as usize];
        (session.start, session.end) = (start, end);
        survivor
    }

    /// Puts a session of a checkpoint, or from disk, back to its group.
    pub(crate) fn restore(&mut self, group: u32, (id, start, end, slot): (i64, i64, i64, u32)) {
        let list = &self.of_group[group as usize];
        let position = list.partition_point(|number| self.arena[*number as usize].start <= start);
        let number = self.begin(group, position, start, end);
        let session = &mut self.arena[number as usize];
        (session.id, session.slot) = (id, slot);
    }

    /// At most `limit` sessions in memory whose end `has_come`, in order of their ends, and none behind the first end on disk. They stay
    /// open until they are closed, but are not given again.
    pub(crate) fn due(&mut self, limit: usize, has_come: impl Fn(i64) -> bool) -> Vec<u32> {
        let on_disk = self.first_end_on_disk(|_| true).unwrap_or(i64::MAX);
        let mut due = vec![];
        while due.len() < limit
            && let Some(Reverse((end, number))) = self.queue.peek().copied()
            && end <= on_disk
            && has_come(end)
        {
            self.queue.pop();
            let session = &mut self.arena[number as usize];
            if session.queued != end {
                continue;
            }
            if session.end > end {
                session.queued = session.end;
                self.queue.push(Reverse((session.end, number)));
            } else {
                session.queued = i64::MIN;
                due.push(number);
            }
        }
        due
    }

    /// The earliest end, or an earlier time.
    pub(crate) fn next_end(&self) -> Option<i64> {
        let in_memory = self.queue.peek().map(|Reverse((end, _))| *end);
        in_memory.into_iter().chain(self.first_end_on_disk(|_| true)).min()
    }

    /// Closes sessions.
    pub(crate) fn close(&mut self, numbers: &[u32]) {
        let mut left_empty = vec![];
        for &number in numbers {
            let group = self.arena[number as usize].group;
            let list = &mut self.of_group[group as usize];
            list.retain(|n| *n != number);
            if list.is_empty() {
                left_empty.push(group);
            }
        }
        self.groups.remove(&left_empty);
        self.forget(numbers.iter().copied());
    }

    /// Gives the numbers of sessions back that are in no key's list any more.
    pub(crate) fn forget(&mut self, numbers: impl Iterator<Item = u32>) {
        for number in numbers {
            self.arena[number as usize].queued = i64::MIN;
            self.free.push(number);
        }
    }

    /// Memory that the sessions take, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let lists: usize = self.of_group.iter().map(|l| l.capacity() * size_of::<u32>()).sum();
        self.groups.bytes()
            + lists
            + self.of_group.capacity() * size_of::<Vec<u32>>()
            + self.arena.capacity() * size_of::<Session>()
            + self.queue.capacity() * size_of::<(i64, u32)>()
            + self.ends.as_ref().map_or(0, TimerQueue::bytes)
    }
}

/// Keys that have come from disk, with all that belongs to their sessions, while a checkpoint is read a page at a time: what is on
/// later pages is known then.
#[derive(Debug, Default)]
pub(crate) struct WholeGroups(BTreeSet<u32>);

impl WholeGroups {
    /// Follows which keys have left memory and which have come.
    pub(crate) fn follow(&mut self, moves: &Moves) {
        for group in &moves.left {
            self.0.remove(group);
        }
        self.0.extend(&moves.came);
    }

    /// The places whose group is not known whole.
    pub(crate) fn others(&self, groups: Vec<u32>, slots: Vec<u32>) -> (Vec<u32>, Vec<u32>) {
        let places = groups.into_iter().zip(slots);
        places.filter(|(group, _)| !self.0.contains(group)).unzip()
    }
}

impl Assigned {
    /// Names the sessions that are left in the end.
    fn resolve(&mut self) {
        let into: BTreeMap<u32, u32> = self.absorbed.iter().copied().collect();
        let last = |mut number: u32| {
            while let Some(next) = into.get(&number) {
                number = *next;
            }
            number
        };
        for (_, survivor) in &mut self.absorbed {
            *survivor = last(*survivor);
        }
        for number in self.of_row.iter_mut().filter(|n| **n != LATE) {
            *number = last(*number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assign(sessions: &mut Sessions, keys: &[i64], times: &[i64], fired: i64) -> Assigned {
        let keys: [ArrayRef; 1] = [Arc::new(Int64Array::from(keys.to_vec()))];
        let hashes = hash_columns(&keys, times.len()).unwrap();
        let groups = sessions.locate(&keys, &hashes, times.len()).unwrap();
        sessions.assign(&groups, times, |end| end <= fired)
    }

    fn bounds(sessions: &Sessions, number: u32) -> (i64, i64) {
        let session = sessions.get(number);
        (session.start, session.end)
    }

    #[test]
    fn sessions_that_touch_become_one() {
        let mut s = Sessions::new(4, vec![LogicalType::bigint()]);
        let a = assign(&mut s, &[7, 7, 8, 7, 7], &[1, 9, 9, 5, 0], i64::MIN);
        assert_eq!(a.absorbed.len(), 1, "5 meets [1, 5) and [9, 13)");
        assert_eq!(
            (a.of_row[0], a.of_row[1], a.of_row[4]),
            (a.of_row[3], a.of_row[3], a.of_row[3])
        );
        assert_eq!(bounds(&s, a.of_row[0]), (0, 13));
        assert_eq!(bounds(&s, a.of_row[2]), (9, 13));
        assert!(s.due(10, |end| end <= 12).is_empty());
        assert_eq!(s.due(10, |end| end <= 13).len(), 2);
    }

    #[test]
    fn a_late_row_that_meets_an_open_session_counts() {
        let mut s = Sessions::new(4, vec![LogicalType::bigint()]);
        let first = assign(&mut s, &[1], &[10], i64::MIN).of_row[0];
        let a = assign(&mut s, &[1, 2, 1], &[6, 6, 5], 10);
        assert_eq!(a.of_row, [first, LATE, first]);
        assert_eq!(bounds(&s, first), (5, 14));
    }

    #[test]
    fn numbers_are_used_again_without_an_old_end() {
        let mut s = Sessions::new(4, vec![LogicalType::bigint()]);
        let first = assign(&mut s, &[1], &[0], i64::MIN).of_row[0];
        assert_eq!(s.due(1, |end| end <= 4), [first]);
        s.close(&[first]);
        assert_eq!(assign(&mut s, &[2], &[20], i64::MIN).of_row, [first]);
        assert!(s.due(1, |end| end <= 23).is_empty());
        assert_eq!(s.due(1, |end| end <= 24), [first]);
    }
}
