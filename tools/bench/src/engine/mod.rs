//! This module defines the interface of engines, which carry operations out. Each engine belongs to
//! one thread.
//!
//! Invariant: `submit` never waits for the operation; a slot is free again when its completion was
//! returned.

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

/// This is the clock of a run. Each engine of the run has a copy of it.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Starts the clock at zero.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Returns the nanoseconds since the start of the run.
    pub fn now_ns(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }

    /// Returns the instant at `nanoseconds` on this clock.
    pub fn instant_at(&self, nanoseconds: u64) -> Instant {
        self.0 + std::time::Duration::from_nanos(nanoseconds)
    }
}

/// Names the kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Read,
    Write,
    Trim,
    /// Flushes data and metadata: fsync.
    Sync,
    /// Flushes data: fdatasync.
    DataSync,
    /// Reads an object that the job itself has put. This and the following verbs apply only to
    /// objects.
    ReadBack,
    Head,
    List,
    Copy,
    Multipart,
}

impl Verb {
    /// Returns the name for reports.
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

    /// Returns the direction under which the result is counted; `None` for a flush, which is
    /// counted separately.
    pub fn direction(self) -> Option<Direction> {
        match self {
            Self::Read | Self::ReadBack | Self::Head | Self::List => Some(Direction::Read),
            Self::Write | Self::Copy | Self::Multipart => Some(Direction::Write),
            Self::Trim => Some(Direction::Trim),
            Self::Sync | Self::DataSync => None,
        }
    }
}

/// Describes one operation. For an object engine, `number` names the object; a read takes `length`
/// bytes from `offset` if the job reads ranges, otherwise the whole object. For a drive, `file` and
/// `offset` name the place.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub verb: Verb,
    pub file: u32,
    pub offset: u64,
    pub length: u64,
    pub number: u64,
}

/// Reports the end of an operation.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    pub slot: u32,
    /// This is the number of bytes transferred, or -errno.
    pub result: i64,
}

/// Holds what an engine knows about its operations beyond their completions.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// This is `None` if the completions say everything.
    pub failures: Option<Failures>,
    /// Counts connections that were made again, if the engine has connections.
    pub reconnections: Option<u64>,
    /// Says how the engine waits for responses, if it has the choice.
    pub client_wait: Option<ClientWait>,
}

/// Says why an engine cannot be set up or cannot continue.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct EngineError(pub String);

/// Carries operations out. Slots are numbered from 0 to the depth less one.
pub trait IoEngine {
    /// Stores or lays out what reads will need. It is called once, before the clock starts;
    /// `progress` receives values from 0 to 1.
    ///
    /// # Errors
    /// Fails when the target is missing or does not support what the job asks of it.
    fn prepare(&mut self, progress: &mut dyn FnMut(f64)) -> Result<(), EngineError>;

    /// Prepares another pass over the target.
    fn restart(&mut self) {}

    /// Passes the flag that is set when the run is to end: `prepare` then fails soon. It is called
    /// before [`Self::prepare`].
    fn heed(&mut self, _stop: &Arc<AtomicBool>) {}

    /// Aborts the operations in flight, if the engine can do that: they complete with -ECANCELED.
    fn cut(&mut self) {}

    /// Returns the buffer of a slot, which is filled before a write and examined after a read.
    fn buffer(&mut self, slot: u32) -> &mut [u8];

    /// Returns how many operations may be queued before they must be submitted. An engine whose
    /// operations are tasks on the job's thread has no limit: they run when the thread waits.
    fn batch(&self) -> usize {
        usize::MAX
    }

    /// Submits what is queued, without waiting.
    ///
    /// # Errors
    /// Fails when the engine itself is broken.
    fn hand_over(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    /// Queues an operation on a free slot.
    fn submit(&mut self, slot: u32, operation: &Operation);

    /// Submits what is queued, waits for at least `at_least` completions or until `deadline_ns` of
    /// the run's [`Clock`], and adds all completions to `done`. If `at_least` is 0 and there is a
    /// deadline, it waits until the deadline.
    ///
    /// # Errors
    /// Fails when the engine itself is broken; failures of operations are in their completions.
    fn reap(
        &mut self,
        at_least: usize,
        deadline_ns: Option<u64>,
        done: &mut Vec<Completion>,
    ) -> Result<(), EngineError>;

    /// Flushes what the job wants flushed when it closes its files (`fsync_on_close`).
    ///
    /// # Errors
    /// Names the file that was not flushed.
    fn flush_to_close(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    /// Closes the engine after the last operation, with nothing in flight.
    ///
    /// # Errors
    /// Fails when closing fails.
    fn finish(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    /// Returns what a user should know beyond the figures: a line for each kind of failure, with
    /// its count.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns what the engine knows about its operations.
    fn account(&self) -> Account {
        Account::default()
    }
}
