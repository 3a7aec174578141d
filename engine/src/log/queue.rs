//! What waits to be written to a shard's log.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use super::{LogPosition, RecordPlace};
use crate::error::{EngineError, Result};
use crate::extent::keeper::Taken;
use crate::format::record::{EncodedRecord, Mutation, RECORD_ALIGNMENT, SegmentV1};
use crate::sync::locks::KeyGuard;
use crate::sync::oneshot;
use crate::sync::signal::Signal;

/// A record that waits, with everything that must happen once it is durable.
pub struct Pending {
    /// None: a barrier, answered when everything before it is durable and applied.
    pub mutation: Option<Mutation>,
    pub record: EncodedRecord,
    pub moved: bool,
    /// Held until the change is applied, so that changes of one key follow each other.
    pub guard: Option<KeyGuard>,
    /// Slices that are nobody's unless the record becomes durable.
    pub reserved: Vec<SegmentV1>,
    /// It changes where an object's slices are, and nothing that a user sees.
    pub relocates: bool,
    pub reply: oneshot::Sender<Result<RecordPlace>>,
}

impl Pending {
    /// Bytes it takes in a batch.
    pub fn padded_bytes(&self) -> usize {
        match self.mutation {
            Some(_) => self.record.length().next_multiple_of(RECORD_ALIGNMENT),
            None => 0,
        }
    }
}

/// How much the log has done; for benchmarks and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogCounters {
    pub batches: u64,
    pub records: u64,
    /// Batches made durable by a synchronous write; the others waited for a flush.
    pub synchronous_writes: u64,
    pub bytes: u64,
    /// Bodies that became objects or parts: what users wrote.
    pub user_bytes: u64,
    /// Records that the cleaner moved.
    pub moved_bytes: u64,
    /// Read by the cleaner.
    pub cleaner_read_bytes: u64,
    /// Slices moved to empty extents.
    pub relocated_bytes: u64,
    pub checkpoints: u64,
    pub checkpoint_bytes: u64,
}

/// See the module.
pub struct LogQueue {
    pub waiting: RefCell<VecDeque<Pending>>,
    /// Of `waiting`.
    pub queued_bytes: Cell<usize>,
    /// The cleaner's copies. They give way to what waits.
    pub copies: RefCell<VecDeque<Pending>>,
    /// Of the batch on its way to the device: behind the position, which has not moved yet.
    pub writing_bytes: Cell<usize>,
    /// This life of the node has written to the log. Before that nothing goes to the position but the batch that names
    /// another extent: what a torn batch of the last life left there is never taken for a later record.
    pub begun: Cell<bool>,
    /// A single block leads from the checkpoint in force to the position: a checkpoint comes before the first record.
    pub by_copy: Cell<bool>,
    /// This life began in an extent that was held back, and has found no other since.
    pub began_short: Cell<bool>,
    /// It left the drive no extent more than the next life of each shard needs: until this time, or until the log
    /// goes on in an extent that is not held back, the cleaner begins nothing that it could leave half done.
    /// Monotonic, in us.
    pub tight_until_us: Cell<u64>,
    /// The current extent is one that was held back: its room is not for user data.
    pub borrowed: Cell<bool>,
    /// Raised when a batch was applied.
    pub progress: Signal,
    pub work: Signal,
    pub position: Cell<LogPosition>,
    pub failed: Cell<bool>,
    pub stopped: Cell<bool>,
    /// Extents taken ahead of need; free again after a crash.
    pub spares: RefCell<VecDeque<Taken>>,
    pub counters: Cell<LogCounters>,
    /// Bytes written since the last checkpoint.
    pub since_checkpoint: Cell<u64>,
}

impl LogQueue {
    /// `begun`: nothing can have been written behind the position, by an earlier life neither. `by_copy`: as the field.
    pub fn new(position: LogPosition, begun: bool, by_copy: bool) -> Self {
        Self {
            waiting: RefCell::default(),
            queued_bytes: Cell::new(0),
            copies: RefCell::default(),
            writing_bytes: Cell::new(0),
            begun: Cell::new(begun),
            by_copy: Cell::new(by_copy),
            began_short: Cell::new(false),
            tight_until_us: Cell::new(0),
            borrowed: Cell::new(false),
            progress: Signal::default(),
            work: Signal::default(),
            position: Cell::new(position),
            failed: Cell::new(false),
            stopped: Cell::new(false),
            spares: RefCell::default(),
            counters: Cell::default(),
            since_checkpoint: Cell::new(0),
        }
    }

    /// Queues a record. From here on it happens whether or not anybody waits for the reply.
    ///
    /// # Errors
    /// When the shard writes no more.
    pub fn push(&self, shard: u16, pending: Pending) -> Result<()> {
        if self.failed.get() {
            return Err(EngineError::WritesStopped { shard });
        }
        if self.stopped.get() {
            return Err(EngineError::ShuttingDown);
        }
        if pending.moved {
            self.copies.borrow_mut().push_back(pending);
        } else {
            self.queued_bytes.set(self.queued_bytes.get() + pending.padded_bytes());
            self.waiting.borrow_mut().push_back(pending);
        }
        self.work.raise();
        Ok(())
    }

    /// Bytes of the log that are not the cleaner's.
    pub fn user_log_bytes(&self) -> u64 {
        let counters = self.counters.get();
        counters.bytes.saturating_sub(counters.moved_bytes)
    }

    /// Whether a record waits, not only barriers.
    pub fn has_records(&self) -> bool {
        let is_record = |pending: &Pending| pending.mutation.is_some();
        self.waiting.borrow().iter().any(is_record) || self.copies.borrow().iter().any(is_record)
    }

    pub fn is_idle(&self) -> bool {
        self.waiting.borrow().is_empty() && self.copies.borrow().is_empty()
    }

    /// Everything that waits, the cleaner's copies last.
    pub fn take_all(&self) -> VecDeque<Pending> {
        self.queued_bytes.set(0);
        let mut all = std::mem::take(&mut *self.waiting.borrow_mut());
        all.append(&mut self.copies.borrow_mut());
        all
    }

    /// Fails everything that waits and everything to come. Slices stay reserved: nobody may write where a record that
    /// did reach the device could point.
    pub fn fail(&self, shard: u16) {
        self.failed.set(true);
        for pending in self.take_all() {
            pending.reply.send(Err(EngineError::WritesStopped { shard }));
        }
        self.progress.raise();
    }

    /// Adds to the counters.
    pub fn count(&self, change: impl FnOnce(&mut LogCounters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }
}
