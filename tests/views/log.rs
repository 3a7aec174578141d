//! The log of a shard: batches in a row of log sets, and a root on each home that says where its
//! replay begins.
//!
//! A batch is known by its number and follows one other batch, as the real one is bound to its place
//! by the identity in its checksum. Two batches that follow the same one are of two lives; they
//! contend for one place on a drive, so a drive holds at most one of them.
//!
//! A batch may *open* a log set: the batches behind it lie in that set. A root names a set. Replay
//! begins with the checkpoint, which covers all up to the batch that opened the set, and goes on
//! with what the drive holds of that set and the later ones. A real checkpoint may cover more; then
//! its replay begins in the same set and needs the same batches to be there, so that nothing is
//! gained by telling the two apart.

use crate::set::{Batches, Set};

/// How many batches a log has at most.
pub const BATCHES_MAX: usize = 6;

/// A log set, named by the batch that opened it. The first one has no such batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogSet(Option<u8>);

impl LogSet {
    pub const FIRST: Self = Self(None);
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Batch {
    follows: Option<u8>,
    opens_a_set: bool,
}

/// Every batch that was ever written for a shard, in the order of writing. Numbers are never used
/// twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct History {
    batches: [Batch; BATCHES_MAX],
    count: u8,
}

impl History {
    /// Adds a batch behind `log` and returns its number.
    pub fn append(&mut self, log: Batches, opens_a_set: bool) -> u8 {
        let number = self.count;
        self.batches[usize::from(number)] = Batch { follows: log.highest(), opens_a_set };
        self.count += 1;
        number
    }

    pub fn opens_a_set(&self, batch: u8) -> bool {
        self.batches[usize::from(batch)].opens_a_set
    }

    /// Returns the batches that opened a log set.
    pub fn openers(&self) -> Batches {
        (0..self.count)
            .filter(|batch| self.opens_a_set(*batch))
            .fold(Set::EMPTY, |all, one| all | Set::one(one))
    }

    /// Returns the batches that users wait for.
    pub fn of_users(&self) -> Batches {
        Set::first(self.count) - self.openers()
    }

    /// Returns the log set that the next batch behind `log` is written to.
    pub fn set_behind(&self, log: Batches) -> LogSet {
        LogSet((log & self.openers()).highest())
    }

    /// Returns what a checkpoint covers whose replay begins in `set`.
    pub fn covered_by(&self, set: LogSet) -> Batches {
        self.up_to(set.0)
    }

    /// Returns the batch and all that it follows.
    fn up_to(&self, mut last: Option<u8>) -> Batches {
        let mut log = Set::EMPTY;
        while let Some(batch) = last {
            log = log | Set::one(batch);
            last = self.batches[usize::from(batch)].follows;
        }
        log
    }

    /// Returns the batches that follow the same batch as `batch` does.
    fn rivals_of(&self, batch: u8) -> Batches {
        let follows = self.batches[usize::from(batch)].follows;
        let is_rival = |other: &u8| *other != batch && self.batches[usize::from(*other)].follows == follows;
        (0..self.count).filter(is_rival).fold(Set::EMPTY, |all, one| all | Set::one(one))
    }

    /// Returns the batches that `log` has in sets before `set`.
    pub fn before(&self, set: LogSet, log: Batches) -> Batches {
        self.covered_by(set) & log
    }

    /// Returns the batch of `held` that comes behind `log`, if there is one.
    fn next(&self, log: Batches, held: Batches) -> Option<u8> {
        let last = log.highest();
        held.iter().find(|batch| self.batches[usize::from(*batch)].follows == last)
    }
}

/// One drive's copy of a shard's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Copy {
    /// The log set in which replay begins. A drive that never was a home has no root.
    pub root: Option<LogSet>,
    /// The batches that lie on the drive and were not let go.
    pub held: Batches,
}

impl Copy {
    /// Writes a batch to its place, over what another life may have left there.
    pub fn write(&mut self, batch: u8, history: &History) {
        self.held = (self.held - history.rivals_of(batch)) | Set::one(batch);
    }

    /// Returns the log that recovery reads from this copy alone.
    pub fn read(&self, history: &History) -> Option<Batches> {
        let mut log = history.covered_by(self.root?);
        while let Some(batch) = history.next(log, self.held) {
            log = log | Set::one(batch);
        }
        Some(log)
    }

    /// Returns whether the batch is on the drive, in a log set or in the checkpoint.
    pub fn has(&self, batch: u8, history: &History) -> bool {
        let covered = self.root.map_or(Set::EMPTY, |set| history.covered_by(set));
        (self.held | covered).contains(batch)
    }
}

#[test]
fn replay_needs_every_batch_behind_the_root() {
    let mut history = History::default();
    let first = Set::one(history.append(Set::EMPTY, false));
    let opener = history.append(first, true);
    let last = history.append(first | Set::one(opener), false);
    let log = Set::first(3);
    let copy = |root, held| Copy { root, held }.read(&history);
    let behind = Some(history.set_behind(log));
    assert_eq!(copy(Some(LogSet::FIRST), log), Some(log));
    assert_eq!(copy(Some(LogSet::FIRST), log - Set::one(opener)), Some(first));
    assert_eq!(copy(behind, Set::one(last)), Some(log));
    assert_eq!(copy(behind, Set::EMPTY), Some(Set::first(2)));
    assert_eq!(copy(None, log), None);
}

#[test]
fn a_place_of_the_log_holds_one_batch() {
    let mut history = History::default();
    let mut copy = Copy { root: Some(LogSet::FIRST), held: Set::EMPTY };
    let torn = history.append(Set::EMPTY, false);
    copy.write(torn, &history);
    let later = history.append(Set::EMPTY, false);
    copy.write(later, &history);
    assert_eq!(copy.read(&history), Some(Set::one(later)));
}
