//! Who carries operations out. One engine belongs to one thread.
//!
//! Invariant: `submit` never waits for the operation; a slot is free again when its completion was handed over.

pub(super) mod drive;
pub mod failures;
pub(super) mod layout;
pub mod objects;
pub(super) mod plain;
pub mod ringbolt;
pub mod s3;
mod slots;
pub mod stamp;
#[cfg(test)]
pub mod testing;

use self::failures::Failures;
use super::spec::{ClientWait, Direction};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// The clock of a run. Whoever runs a job starts one and gives a copy to every engine.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Zero is now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn now_ns(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }

    /// The moment at `nanoseconds` on this clock.
    pub fn instant_at(&self, nanoseconds: u64) -> Instant {
        self.0 + std::time::Duration::from_nanos(nanoseconds)
    }
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Read,
    Write,
    Trim,
    /// fsync.
    Sync,
    /// fdatasync.
    DataSync,
    /// Objects only.
    /// Of an object that the job itself has put.
    ReadBack,
    Head,
    List,
    Copy,
    Multipart,
}

impl Verb {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Trim => "trim",
            Self::Sync => "fsync",
            Self::DataSync => "fdatasync",
            Self::ReadBack => "read back",
            Self::Head => "head",
            Self::List => "list",
            Self::Copy => "copy",
            Self::Multipart => "multipart",
        }
    }

    /// Where its result is counted. None: a flush, which is counted apart.
    pub fn direction(self) -> Option<Direction> {
        match self {
            Self::Read | Self::ReadBack | Self::Head | Self::List => Some(Direction::Read),
            Self::Write | Self::Copy | Self::Multipart => Some(Direction::Write),
            Self::Trim => Some(Direction::Trim),
            Self::Sync | Self::DataSync => None,
        }
    }
}

/// One operation. For an object engine `number` names the object, of which a read takes `length` bytes from `offset` on
/// when the job reads ranges and all when not; for a drive `file` and `offset` say where.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub verb: Verb,
    pub file: u32,
    pub offset: u64,
    pub length: u64,
    pub number: u64,
}

/// The end of an operation.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    pub slot: u32,
    /// Bytes transferred, or -errno.
    pub result: i64,
}

/// What an engine knows of its operations beyond their completions.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// None: whoever runs the job knows as much.
    pub failures: Option<Failures>,
    /// Connections that were made again, where there are connections.
    pub reconnections: Option<u64>,
    /// How it waits for answers, where it has the choice.
    pub client_wait: Option<ClientWait>,
}

/// Why an engine could not be set up or go on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct EngineError(pub String);

/// See the module. Slots are numbered from 0 to one less than the depth.
pub trait IoEngine {
    /// Stores or lays out what reads will need. Called once, before the clock starts; `progress` from 0 to 1.
    ///
    /// # Errors
    /// When the target is not there or does not take what it should.
    fn prepare(&mut self, progress: &mut dyn FnMut(f64)) -> Result<(), EngineError>;

    /// Another pass over the target begins.
    fn restart(&mut self) {}

    /// Says what is set when the run is to end: preparing then fails soon. Called before [`Self::prepare`].
    fn heed(&mut self, _stop: &Arc<AtomicBool>) {}

    /// Ends what is in flight, where that can be done: completions of -ECANCELED follow.
    fn cut(&mut self) {}

    /// The buffer of a slot, to fill before a write is submitted and to look at after a read has completed.
    fn buffer(&mut self, slot: u32) -> &mut [u8];

    /// So many operations may be queued before they are to be handed over. An engine whose operations are tasks of the
    /// job's thread has no limit: they run when the thread waits.
    fn batch(&self) -> usize {
        usize::MAX
    }

    /// Hands over what is queued and does not wait.
    ///
    /// # Errors
    /// When the engine itself is broken.
    fn hand_over(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    /// Queues an operation on a free slot.
    fn submit(&mut self, slot: u32, operation: &Operation);

    /// Hands over what is queued, waits for at least `at_least` completions or until `deadline_ns` of the run's
    /// [`Clock`], and adds what has completed to `done`. With `at_least` 0 and a deadline it waits until the deadline.
    ///
    /// # Errors
    /// When the engine itself is broken; failures of operations are in their completions.
    fn reap(
        &mut self,
        at_least: usize,
        deadline_ns: Option<u64>,
        done: &mut Vec<Completion>,
    ) -> Result<(), EngineError>;

    /// After the last operation, with nothing in flight.
    ///
    /// # Errors
    /// When closing fails.
    fn finish(&mut self) -> Result<(), EngineError>;

    /// What a user should hear beyond the figures: kinds of failures with how often each came, a line each.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// What the engine itself knows of its operations.
    fn account(&self) -> Account {
        Account::default()
    }
}
