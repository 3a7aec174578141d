//! What waits to be written to a shard's log.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use super::{LogPosition, RecordPlace};
use crate::error::{EngineError, Result};
use crate::extent::keeper::Class;
use crate::format::record::{EncodedRecord, Mutation, RECORD_ALIGNMENT};
use crate::sync::locks::KeyGuard;
use crate::sync::oneshot;
use crate::sync::signal::Signal;

/// A record that waits, with everything that must happen once it is durable.
pub struct Pending {
    /// None: a barrier, answered when everything before it is durable and applied.
    pub mutation: Option<Mutation>,
    pub record: EncodedRecord,
    pub moved: bool,
    pub class: Class,
    /// Held until the change is applied, so that changes of one key follow each other.
    pub guard: Option<KeyGuard>,
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
}

/// See the module.
pub struct LogQueue {
    pub waiting: RefCell<VecDeque<Pending>>,
    pub queued_bytes: Cell<usize>,
    pub work: Signal,
    pub position: Cell<LogPosition>,
    pub failed: Cell<bool>,
    pub stopped: Cell<bool>,
    /// Extents taken ahead of need; free again after a crash.
    pub spares: RefCell<VecDeque<u32>>,
    pub counters: Cell<LogCounters>,
    /// Bytes written since the last checkpoint.
    pub since_checkpoint: Cell<u64>,
}

impl LogQueue {
    pub fn new(position: LogPosition) -> Self {
        Self {
            waiting: RefCell::default(),
            queued_bytes: Cell::new(0),
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
        self.queued_bytes.set(self.queued_bytes.get() + pending.padded_bytes());
        self.waiting.borrow_mut().push_back(pending);
        self.work.raise();
        Ok(())
    }

    /// Fails everything that waits and everything to come.
    pub fn fail(&self, shard: u16) {
        self.failed.set(true);
        self.queued_bytes.set(0);
        for pending in std::mem::take(&mut *self.waiting.borrow_mut()) {
            pending.reply.send(Err(EngineError::WritesStopped { shard }));
        }
    }
}
