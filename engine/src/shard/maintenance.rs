//! What a shard remembers of its own upkeep: of its checkpoints, its cleaner and its compaction.
//!
//! Invariants:
//! - Each of the owners here keeps its fields to itself; checkpoint.rs, clean.rs and compact.rs hold what is done.
//! - One checkpoint, one cleaning and one compaction run at a time, beside each other.
//! - Whatever was given back to the drive is counted, so that of many who wait for space one does the work for all.

use std::cell::{Cell, Ref, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use crate::extent::allocator::HeldBack;
use crate::extent::slices::SliceSpace;
use crate::format::slice::UNIT_BYTES;
use crate::format::superblock::ShardRootOnDisk;
use crate::sync::locks::{KeyGuard, KeyLocks, Locking};
use crate::sync::signal::Signal;

/// What could not be emptied is tried again once the shard's slices are fewer by so much, bytes.
const RETRY_BYTES: u64 = 8 << 20;

/// The kinds of upkeep that run one at a time each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Checkpoint = 0,
    Cleaning = 1,
    Compaction = 2,
    /// Making the drive more space for a put that waits.
    Reclaiming = 3,
}

/// The turns of a shard's upkeep, and what it gave back.
#[derive(Default)]
pub(super) struct Upkeep {
    turns: KeyLocks,
    given_back: Cell<u64>,
    held_back: Cell<HeldBack>,
}

impl Upkeep {
    /// Waits for the turn of a task.
    pub fn turn(&self, task: Task) -> Locking {
        self.turns.lock(task as u64)
    }

    /// The turn of a task, if it does not run.
    pub fn try_turn(&self, task: Task) -> Option<KeyGuard> {
        self.turns.try_lock(task as u64)
    }

    /// Extents and runs that were given back so far.
    pub fn given_back(&self) -> u64 {
        self.given_back.get()
    }

    pub fn count_given_back(&self, things: usize) {
        self.given_back.set(self.given_back.get() + things as u64);
    }

    /// Whether the drive has to be told: these are others than it was told last.
    pub fn changes_held_back(&self, extents: HeldBack) -> bool {
        extents != self.held_back.replace(extents)
    }
}

/// The most that a shard's checkpoints have taken since the start, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peak {
    /// Held at a time, beside the index itself: what is being written, and what names the rest.
    pub memory: u64,
    /// Copied or encoded without giving way.
    pub step: u64,
}

/// The checkpoint in force, and the one that is wanted.
pub(super) struct Checkpoints {
    /// None: there is none yet.
    root: Cell<Option<ShardRootOnDisk>>,
    wanted: Cell<bool>,
    peak: Cell<Peak>,
}

impl Checkpoints {
    pub fn new(root: Option<ShardRootOnDisk>) -> Self {
        Self { root: Cell::new(root), wanted: Cell::default(), peak: Cell::default() }
    }

    /// The root of the checkpoint in force. None: there is none yet.
    pub fn root(&self) -> Option<ShardRootOnDisk> {
        self.root.get()
    }

    pub fn install(&self, root: ShardRootOnDisk) {
        self.root.set(Some(root));
    }

    /// Wants a checkpoint; false when one is wanted already.
    pub fn want(&self) -> bool {
        !self.wanted.replace(true)
    }

    /// The one that is wanted begins.
    pub fn begin(&self) {
        self.wanted.set(false);
    }

    pub fn note_peak(&self, peak: Peak) {
        let before = self.peak.get();
        let (memory, step) = (peak.memory.max(before.memory), peak.step.max(before.step));
        self.peak.set(Peak { memory, step });
    }

    pub fn peak(&self) -> Peak {
        self.peak.get()
    }
}

/// Whether the cleaner runs, who waits for it, and where it could do nothing.
#[derive(Default)]
pub(super) struct Cleaner {
    running: Cell<bool>,
    waiting: Cell<u32>,
    /// Dead bytes among which the last run found nothing worth moving.
    fruitless_dead_bytes: Cell<u64>,
    /// Log extents that could not be read.
    unreadable: RefCell<BTreeSet<u32>>,
}

impl Cleaner {
    /// False when it runs already.
    pub fn begin(&self) -> bool {
        !self.running.replace(true)
    }

    pub fn end(&self) {
        assert!(self.running.replace(false), "the cleaner ended without a begin");
    }

    /// Whether somebody waits for what it gains: it does not pace itself meanwhile.
    pub fn is_waited_for(&self) -> bool {
        self.waiting.get() > 0
    }

    /// Waits for the cleaner until what is returned is dropped; `progress` makes it look.
    pub fn wait_for(&self, progress: &Signal) -> CleanerWaiter<'_> {
        self.waiting.set(self.waiting.get() + 1);
        progress.raise();
        CleanerWaiter(self)
    }

    /// Whether so many dead bytes are hardly more than those among which nothing was worth moving.
    pub fn is_fruitless(&self, dead: u64, extent_bytes: u32) -> bool {
        self.fruitless_dead_bytes.set(self.fruitless_dead_bytes.get().min(dead));
        dead < self.fruitless_dead_bytes.get() + u64::from(extent_bytes) / 2
    }

    /// Nothing was worth moving among these dead bytes; 0: there was.
    pub fn note_fruitless(&self, dead: u64) {
        self.fruitless_dead_bytes.set(dead);
    }

    pub fn unreadable(&self) -> Ref<'_, BTreeSet<u32>> {
        self.unreadable.borrow()
    }

    pub fn note_unreadable(&self, extent: u32) {
        self.unreadable.borrow_mut().insert(extent);
    }

    /// Forgets extents that the log has no more.
    pub fn keep_unreadable(&self, is_ours: impl Fn(u32) -> bool) {
        self.unreadable.borrow_mut().retain(|extent| is_ours(*extent));
    }
}

/// Somebody waits for what the cleaner does.
pub(super) struct CleanerWaiter<'a>(&'a Cleaner);

impl Drop for CleanerWaiter<'_> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}

/// How much was used when an extent could not be emptied, units: of it, and in the whole shard.
#[derive(Clone, Copy, Debug)]
struct Immovable {
    of_extent: u32,
    of_shard: u64,
}

/// Data extents that compaction could not empty.
#[derive(Default)]
pub(super) struct Compactor {
    immovable: RefCell<BTreeMap<u32, Immovable>>,
}

impl Compactor {
    pub fn immovable_count(&self) -> usize {
        self.immovable.borrow().len()
    }

    /// Extents worth emptying, of about `units_max` units together, without those that are as they were when they
    /// could not be emptied.
    pub fn victims(&self, slices: &SliceSpace, units_max: u64) -> BTreeSet<u32> {
        let immovable = self.immovable.borrow();
        let of_shard = slices.used_units();
        let skip = |extent, used| {
            immovable.get(&extent).is_some_and(|noted| {
                noted.of_extent == used && of_shard + RETRY_BYTES / UNIT_BYTES as u64 > noted.of_shard
            })
        };
        slices.victims(units_max, skip).into_iter().collect()
    }

    /// Remembers which of the extents still hold something; gives their number.
    pub fn note(&self, slices: &SliceSpace, extents: &BTreeSet<u32>) -> usize {
        let mut immovable = self.immovable.borrow_mut();
        let of_shard = slices.used_units();
        immovable.retain(|extent, _| slices.contains(*extent));
        let mut left = 0;
        for &extent in extents.iter().filter(|extent| slices.contains(**extent)) {
            immovable.insert(extent, Immovable { of_extent: slices.used_units_of(extent), of_shard });
            left += 1;
        }
        left
    }
}
