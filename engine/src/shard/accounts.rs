//! The space accounts of a shard: which bytes are live, waiting to be freed, or reserved, and what
//! readers have pinned.
//!
//! Invariants:
//! - live + dead + reserved + free = owned, at any moment (law 5): [`ShardSpace::adds_up`].
//! - Nothing here is logged. Recovery derives it from what the index names.
//! - What a durable record freed waits in `freed` for a checkpoint behind that record, and in
//!   `deferred` while a reader has it pinned (law 6).

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::entry::Entry;
use crate::extent::sets::SetTable;
use crate::extent::slices::SliceSpace;
use crate::extent::{Geometry, LogSet, RunCount, SetPlace};
use crate::format::record::{Mutation, RunV1, SegmentV1};
use crate::format::slice::UNIT_BYTES;
use crate::format::superblock::HOMES;
use crate::hook::{Bug, Planted, Rare, reached};
use crate::log::RecordPlace;
use crate::log::space::LogSpace;

/// A place in the log that holds no record: no extent is meant, and the length is 0.
pub(super) const NOTHING: (u32, u32) = (0, 0);

/// What a reader of slices has pinned: an object with its slices where they were after so many
/// moves, or a part of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pin {
    /// Generation of the object, or of the part's segment. They are never the same.
    pub number: u64,
    /// Number of times that the slices were moved.
    pub change: u32,
}

impl Pin {
    /// Returns the pin of whoever reads the object as its entry says.
    pub fn of(entry: &Entry) -> Self {
        Self { number: entry.generation, change: entry.change }
    }

    /// Returns the pin of whoever reads the slices as those of a part.
    pub fn of_part(segment: &SegmentV1) -> Self {
        Self { number: segment.generation, change: 0 }
    }
}

/// The changes that an open shard's accounts must follow after a record was applied. Recovery
/// derives its accounts anew instead.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Extent and length in bytes of the record that became live.
    pub gained: (u32, u32),
    /// Extents and lengths in bytes of the records that became dead.
    pub lost: [(u32, u32); 2],
    /// Slices that nothing names any more, each with the latest pin that a reader of them may have.
    pub freed: Vec<(Pin, SegmentV1)>,
    /// The runs of an object whose slices were moved, before and after the move.
    pub relocated: Option<(RunCount, RunCount)>,
}

/// A run that is freed by the first checkpoint behind `sequence`.
struct Freed {
    sequence: u64,
    run: RunV1,
    units: u32,
}

/// The space accounts of a shard.
pub(crate) struct Accounts {
    geometry: Geometry,
    /// Where every set of the shard is.
    pub(crate) sets: SetTable,
    /// The sets of the log.
    pub(crate) logs: LogSpace,
    /// The sets of slices.
    pub(crate) slices: SliceSpace,
    /// Runs of slices that the index and the uploads name.
    pub(super) runs: RunCount,
    /// The sets of the checkpoint in force.
    pub(super) checkpoint_sets: Vec<u32>,
    /// The sequence number of the checkpoint in force.
    pub(super) checkpoint_sequence: u64,
    freed: VecDeque<Freed>,
    freed_units: u64,
    /// Units that are reserved for bodies not yet committed.
    reserved_units: u64,
    /// Number of readers of an object or part.
    pins: BTreeMap<Pin, u32>,
    /// Deferred frees, by the pin that they wait for. With each is the latest pin that a reader of it
    /// may have.
    deferred: HashMap<Pin, Vec<(Pin, SegmentV1)>>,
}

/// The space of the extents that a shard owns: live + dead + reserved + free = owned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardSpace {
    /// Bytes that the index names.
    pub live_bytes: u64,
    /// Bytes that were freed and wait for a checkpoint or a reader.
    pub dead_bytes: u64,
    /// Bytes that are reserved: for bodies not yet committed, for the log, and for checkpoints.
    pub reserved_bytes: u64,
    /// Bytes that are owned but free.
    pub free_bytes: u64,
    pub owned_bytes: u64,
    /// Bytes of the extents that are further copies of those that are owned, on drives that are here.
    pub copies_bytes: u64,
    /// The part of the live bytes that is in striped sets, by how many drives more may be lost before they are.
    pub striped_by_losses: [u64; HOMES],
    pub objects: u64,
    pub index_bytes: u64,
    pub runs: RunCount,
}

impl ShardSpace {
    /// Returns whether live + dead + reserved + free = owned.
    pub fn adds_up(&self) -> bool {
        self.live_bytes + self.dead_bytes + self.reserved_bytes + self.free_bytes == self.owned_bytes
    }
}

/// Counts of everything that a shard, or a node, holds beside live objects. All of it but the log
/// and the checkpoints must go away when no request is running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    pub log_extents: usize,
    pub data_extents: usize,
    pub checkpoint_extents: usize,
    /// Log extents that were taken before they are needed.
    pub spare_extents: usize,
    /// Units that slices use in data extents.
    pub used_units: u64,
    /// Units that are reserved for bodies not yet committed.
    pub reserved_units: u64,
    /// Units that wait for a checkpoint or for a reader.
    pub freed_units: u64,
    pub pinned_objects: usize,
    pub held_locks: usize,
    pub writers: usize,
}

impl Accounts {
    pub(super) fn new(geometry: Geometry) -> Self {
        Self {
            geometry,
            sets: SetTable::new(geometry.epoch),
            logs: LogSpace::default(),
            slices: SliceSpace::new(geometry.extent_bytes / UNIT_BYTES as u32),
            runs: RunCount::default(),
            checkpoint_sets: Vec::new(),
            checkpoint_sequence: 0,
            freed: VecDeque::new(),
            freed_units: 0,
            reserved_units: 0,
            pins: BTreeMap::new(),
            deferred: HashMap::new(),
        }
    }

    /// Accounts for a record that was applied with these effects.
    pub(super) fn account(&mut self, mutation: &Mutation, place: RecordPlace, effects: Effects) {
        let relocated = effects.relocated;
        if let Some((before, after)) = relocated {
            self.runs = self.runs.plus(after).minus(before);
        }
        match mutation {
            // The slices of a completed upload were counted as parts.
            Mutation::Put(put) if !place.moved && put.change == 0 && put.upload.is_none() => {
                put.segments.iter().for_each(|segment| self.runs.add(segment));
            }
            Mutation::UploadPart(part) => self.runs.add(&part.part.segment),
            _ => {}
        }
        if effects.gained != NOTHING {
            self.logs.gain(effects.gained.0, effects.gained.1);
        }
        for (extent, bytes) in effects.lost.into_iter().filter(|lost| *lost != NOTHING) {
            self.logs.lose(extent, bytes);
        }
        for (latest, segment) in effects.freed {
            if relocated.is_none() {
                self.runs.remove(&segment);
            }
            self.free_when_unread(latest, segment, place.sequence);
        }
    }

    /// Frees slices behind `sequence`, once no reader has them pinned. A reader may have opened them
    /// as the object, before or after other slices of it were moved, or as a part.
    fn free_when_unread(&mut self, latest: Pin, segment: SegmentV1, sequence: u64) {
        let first = Pin { change: 0, ..latest };
        let of_object = self.pins.range(first..=latest).next().map(|(pin, _)| *pin);
        let of_part = Pin::of_part(&segment);
        let pin = of_object.or_else(|| self.pins.contains_key(&of_part).then_some(of_part));
        match pin.filter(|_| !self.geometry.planted.is(Bug::ReuseSpaceEarly)) {
            Some(pin) => {
                reached(Rare::ReaderKeptSpace);
                self.deferred.entry(pin).or_default().push((latest, segment));
            }
            None => self.free_later(sequence, &segment),
        }
    }

    /// Counts a reader of an object or part.
    pub(super) fn pin(&mut self, pin: Pin) {
        *self.pins.entry(pin).or_insert(0) += 1;
    }

    /// Releases a reader's pin. When it was the last one, the deferred frees wait for the other
    /// readers, or for a checkpoint behind `sequence`.
    pub(super) fn unpin(&mut self, pin: Pin, sequence: u64) {
        let count = self.pins.get_mut(&pin).unwrap_or_else(|| panic!("{pin:?} is not there"));
        *count -= 1;
        if *count > 0 {
            return;
        }
        self.pins.remove(&pin);
        for (latest, segment) in self.deferred.remove(&pin).unwrap_or_default() {
            self.free_when_unread(latest, segment, sequence);
        }
    }

    /// Returns the deliberate bug of the node.
    pub(super) fn planted(&self) -> Planted {
        self.geometry.planted
    }

    /// Keeps a set of the log for a reader, and returns it.
    pub(super) fn pin_log(&mut self, set: u32) -> LogSet {
        LogSet { place: self.sets.place(set), log_number: self.logs.pin(set) }
    }

    fn free_later(&mut self, sequence: u64, segment: &SegmentV1) {
        for run in &segment.runs {
            let units = self.geometry.shape.run_units(run, segment.length);
            self.freed_units += u64::from(units);
            self.freed.push_back(Freed { sequence, run: *run, units });
        }
    }

    /// Frees up to `most` runs whose records are before `sequence`, after a checkpoint of
    /// everything before it came into force. Returns the sets that became empty and the number of
    /// runs.
    pub(super) fn release_freed(&mut self, sequence: u64, most: usize) -> (Vec<u32>, usize) {
        let (mut empty, mut runs) = (Vec::new(), 0);
        while runs < most && self.freed.front().is_some_and(|freed| freed.sequence < sequence) {
            let Some(freed) = self.freed.pop_front() else { break };
            self.freed_units -= u64::from(freed.units);
            empty.extend(self.slices.free(&freed.run, freed.units));
            runs += 1;
        }
        (empty, runs)
    }

    /// Returns the bytes of slices that a checkpoint would free.
    pub(super) fn freed_bytes(&self) -> u64 {
        self.freed_units * UNIT_BYTES as u64
    }

    /// Returns the bytes that a checkpoint would free, including extents of the log.
    pub(super) fn reclaimable_bytes(&self) -> u64 {
        self.freed_bytes() + self.logs.empty() as u64 * u64::from(self.geometry.extent_bytes)
    }

    /// Counts the units of a run that was allocated for a body.
    pub(super) fn reserve(&mut self, units: u32) {
        self.reserved_units += u64::from(units);
    }

    /// Frees reserved runs, which no record names, of a body of `length` bytes. Returns the sets that
    /// became empty.
    pub(super) fn release(&mut self, runs: &[RunV1], length: u64) -> Vec<u32> {
        let mut empty = Vec::new();
        for run in runs {
            let units = self.geometry.shape.run_units(run, length);
            self.reserved_units -= u64::from(units);
            empty.extend(self.slices.free(run, units));
        }
        empty
    }

    /// Counts slices as no longer reserved, after the record that names them was applied.
    pub(super) fn keep(&mut self, segment: &SegmentV1) {
        self.reserved_units -= self.geometry.shape.segment_units(segment);
    }

    /// Returns the bytes that no slice uses in extents of slices.
    pub(super) fn gap_bytes(&self) -> u64 {
        let units_per_extent = u64::from(self.geometry.extent_bytes) / UNIT_BYTES as u64;
        (self.slices.extent_count() as u64 * units_per_extent - self.slices.used_units()) * UNIT_BYTES as u64
    }

    fn deferred_units(&self) -> u64 {
        let units = |segment| self.geometry.shape.segment_units(segment);
        self.deferred.values().flatten().map(|(_, segment)| units(segment)).sum()
    }

    /// Returns the sums over all extents, `spares` of which were taken for the log before they are
    /// needed. Objects and index are left at 0.
    pub(super) fn space(&self, spares: usize) -> ShardSpace {
        let extent = u64::from(self.geometry.extent_bytes);
        // Of a striped set the data members count, and parity as copies do.
        let width = self.width();
        let (unit, of_data) = (UNIT_BYTES as u64 * width, self.slices.extent_count() as u64 * width * extent);
        let (log_live, log_dead) = self.logs.live_and_dead();
        let used = self.slices.used_units();
        let waiting = self.freed_units + self.deferred_units();
        let log_free = self.logs.count() as u64 * extent - log_live - log_dead;
        let beside = (self.checkpoint_sets.len() + spares) as u64 * extent;
        ShardSpace {
            live_bytes: log_live + (used - waiting - self.reserved_units) * unit,
            dead_bytes: log_dead + waiting * unit,
            reserved_bytes: self.reserved_units * unit + beside + log_free,
            free_bytes: of_data - used * unit,
            owned_bytes: self.logs.count() as u64 * extent + of_data + beside,
            copies_bytes: 0,
            runs: self.runs,
            ..ShardSpace::default()
        }
    }

    /// Returns the live bytes of striped sets by how many drives more may be lost before they are, given how many
    /// members of a set are whole.
    pub(super) fn striped_by_losses(&self, whole: impl Fn(SetPlace) -> usize) -> [u64; HOMES] {
        let (mut by_losses, unit) = ([0; HOMES], UNIT_BYTES as u64 * self.width());
        for set in self.slices.extents() {
            let spare = whole(self.sets.place(set)).saturating_sub(self.geometry.shape.data());
            by_losses[spare.min(HOMES - 1)] += u64::from(self.slices.used_units_of(set)) * unit;
        }
        // Nobody notes in which sets lies what is not live.
        let mut other = (self.freed_units + self.deferred_units() + self.reserved_units) * unit;
        for bytes in by_losses.iter_mut().rev() {
            let part = other.min(*bytes);
            (*bytes, other) = (*bytes - part, other - part);
        }
        by_losses
    }

    /// Returns how many members of a set of slices hold data that differ.
    pub(super) fn width(&self) -> u64 {
        self.geometry.shape.data() as u64
    }

    /// Returns where every set is, but those that were taken for the log before they are needed.
    pub(crate) fn places(&self) -> Vec<SetPlace> {
        let named = self.logs.all().chain(self.slices.extents());
        let named = named.chain(self.checkpoint_sets.iter().copied());
        named.map(|set| self.sets.place(set)).collect()
    }

    /// Removes the sets that nothing claims: neither the log, nor slices, nor the checkpoint in
    /// force.
    pub(super) fn keep_claimed_sets(&mut self) {
        let Self { sets, logs, slices, checkpoint_sets, .. } = self;
        let of_checkpoint: HashSet<u32> = checkpoint_sets.iter().copied().collect();
        sets.retain(|set| logs.contains(set) || slices.contains(set) || of_checkpoint.contains(&set));
    }

    /// Adds what is held beside live objects, for the simulator's checks.
    pub(super) fn count_leftovers(&self, sum: &mut Leftovers) {
        sum.log_extents += self.logs.count();
        sum.data_extents += self.slices.extent_count();
        sum.checkpoint_extents += self.checkpoint_sets.len();
        sum.used_units += self.slices.used_units();
        sum.reserved_units += self.reserved_units;
        sum.freed_units += self.freed_units + self.deferred_units();
        sum.pinned_objects += self.pins.len();
    }
}
