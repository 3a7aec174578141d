//! The bookkeeping of a shard's maintenance: of its checkpoints, its cleaner and its compaction.
//!
//! Invariants:
//! - Each type here keeps its fields private. `checkpoint.rs`, `clean.rs` and `compact.rs` hold the
//!   work itself.
//! - At most one checkpoint, one cleaning and one compaction run at a time; the three may run
//!   beside each other.
//! - Everything that is returned to the drive is counted, so that of many callers that wait for
//!   space one does the work for all.

use std::cell::{Cell, Ref, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use crate::extent::allocator::HeldBack;
use crate::extent::slices::SliceSpace;
use crate::format::slice::UNIT_BYTES;
use crate::format::superblock::ShardRootOnDisk;
use crate::sync::locks::{KeyGuard, KeyLocks, Locking};
use crate::sync::signal::Signal;

/// An extent that could not be emptied is tried again once the shard's slices have shrunk by this
/// many bytes.
const RETRY_BYTES: u64 = 8 << 20;

/// The kinds of maintenance. Of each kind one task runs at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Checkpoint = 0,
    Cleaning = 1,
    Compaction = 2,
    /// Freeing space on the drive for a put that waits.
    Reclaiming = 3,
}

/// The locks of a shard's maintenance tasks, and the count of what they returned to the drive.
#[derive(Default)]
pub(super) struct Upkeep {
    turns: KeyLocks,
    given_back: Cell<u64>,
    held_back: Cell<HeldBack>,
    /// The turn of checkpoints, which nobody gets any more when the shard closes.
    ended: RefCell<Option<KeyGuard>>,
}

impl Upkeep {
    /// Waits until no checkpoint runs, and lets none begin any more.
    pub async fn end_checkpoints(&self) {
        let turn = self.turn(Task::Checkpoint).await;
        self.ended.replace(Some(turn));
    }

    /// Waits until no other task of this kind runs, and locks it.
    pub fn turn(&self, task: Task) -> Locking {
        self.turns.lock(task as u64)
    }

    /// Locks a kind of task, or returns `None` if one runs.
    pub fn try_turn(&self, task: Task) -> Option<KeyGuard> {
        self.turns.try_lock(task as u64)
    }

    /// Returns the number of extents and runs that were returned so far.
    pub fn given_back(&self) -> u64 {
        self.given_back.get()
    }

    pub fn count_given_back(&self, things: usize) {
        self.given_back.set(self.given_back.get() + things as u64);
    }

    /// Forgets what the drives were told last.
    pub fn forget_held_back(&self) {
        self.held_back.set(HeldBack::default());
    }

    /// Stores what is to be held back, and returns whether it differs from what the drive was told
    /// last.
    pub fn changes_held_back(&self, extents: HeldBack) -> bool {
        extents != self.held_back.replace(extents)
    }
}

/// The most memory that a shard's checkpoints have taken since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peak {
    /// Bytes held at a time beside the index itself: what is being written, and what names the
    /// rest.
    pub memory: u64,
    /// Bytes copied or encoded without yielding.
    pub step: u64,
}

/// The checkpoint in force, and whether a new one is wanted.
pub(super) struct Checkpoints {
    /// The root of the checkpoint in force; `None` when there is none yet.
    root: Cell<Option<ShardRootOnDisk>>,
    wanted: Cell<bool>,
    peak: Cell<Peak>,
}

impl Checkpoints {
    pub fn new(root: Option<ShardRootOnDisk>) -> Self {
        Self { root: Cell::new(root), wanted: Cell::default(), peak: Cell::default() }
    }

    /// Returns the root of the checkpoint in force, or `None` when there is none yet.
    pub fn root(&self) -> Option<ShardRootOnDisk> {
        self.root.get()
    }

    /// Notes the root of a new checkpoint, which is in force from now on.
    pub fn install(&self, root: ShardRootOnDisk) {
        self.root.set(Some(root));
    }

    /// Notes that a checkpoint is wanted. Returns false when one is wanted already.
    pub fn want(&self) -> bool {
        !self.wanted.replace(true)
    }

    /// Notes that the wanted checkpoint begins.
    pub fn begin(&self) {
        self.wanted.set(false);
    }

    /// Raises the peaks to those of a checkpoint that ended.
    pub fn note_peak(&self, peak: Peak) {
        let before = self.peak.get();
        let (memory, step) = (peak.memory.max(before.memory), peak.step.max(before.step));
        self.peak.set(Peak { memory, step });
    }

    pub fn peak(&self) -> Peak {
        self.peak.get()
    }
}

/// The state of the cleaner: whether it runs, how many callers wait for it, and where it can gain
/// nothing.
#[derive(Default)]
pub(super) struct Cleaner {
    running: Cell<bool>,
    waiting: Cell<u32>,
    /// Dead bytes of the log at which the last run found nothing worth moving.
    fruitless_dead_bytes: Cell<u64>,
    /// Log extents that could not be read.
    unreadable: RefCell<BTreeSet<u32>>,
}

impl Cleaner {
    /// Marks the cleaner as running. Returns false when it runs already.
    pub fn begin(&self) -> bool {
        !self.running.replace(true)
    }

    /// Marks the cleaner as not running.
    ///
    /// # Panics
    /// Panics when it was not running.
    pub fn end(&self) {
        assert!(self.running.replace(false), "the cleaner ended without a begin");
    }

    /// Returns whether a caller waits for space from the cleaner. The cleaner does not pace itself
    /// then.
    pub fn is_waited_for(&self) -> bool {
        self.waiting.get() > 0
    }

    /// Registers a caller that waits for the cleaner until the returned value is dropped. Raises
    /// `progress`, so that a paced cleaner notices.
    pub fn wait_for(&self, progress: &Signal) -> CleanerWaiter<'_> {
        self.waiting.set(self.waiting.get() + 1);
        progress.raise();
        CleanerWaiter(self)
    }

    /// Returns whether there are hardly more dead bytes than when the last run found nothing worth
    /// moving.
    pub fn is_fruitless(&self, dead: u64, extent_bytes: u32) -> bool {
        self.fruitless_dead_bytes.set(self.fruitless_dead_bytes.get().min(dead));
        dead < self.fruitless_dead_bytes.get() + u64::from(extent_bytes) / 2
    }

    /// Notes that nothing was worth moving at this many dead bytes, or with 0 that something was.
    pub fn note_fruitless(&self, dead: u64) {
        self.fruitless_dead_bytes.set(dead);
    }

    pub fn unreadable(&self) -> Ref<'_, BTreeSet<u32>> {
        self.unreadable.borrow()
    }

    pub fn note_unreadable(&self, extent: u32) {
        self.unreadable.borrow_mut().insert(extent);
    }

    /// Forgets extents that the log no longer has.
    pub fn keep_unreadable(&self, is_ours: impl Fn(u32) -> bool) {
        self.unreadable.borrow_mut().retain(|extent| is_ours(*extent));
    }
}

/// A registered caller that waits for the cleaner.
pub(super) struct CleanerWaiter<'a>(&'a Cleaner);

impl Drop for CleanerWaiter<'_> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}

/// Used units of an extent, and of the whole shard, when the extent could not be emptied.
#[derive(Clone, Copy, Debug)]
struct Immovable {
    of_extent: u32,
    of_shard: u64,
}

/// The data extents that compaction could not empty.
#[derive(Default)]
pub(super) struct Compactor {
    immovable: RefCell<BTreeMap<u32, Immovable>>,
}

impl Compactor {
    /// Returns the number of extents that could not be emptied.
    pub fn immovable_count(&self) -> usize {
        self.immovable.borrow().len()
    }

    /// Returns extents worth emptying, of about `units_max` units together. Leaves out those that
    /// are as they were when they could not be emptied.
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

    /// Remembers which of the extents still hold something, and returns their number.
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
