//! How far a drive is that is brought up to date, for whoever waits for it.
//!
//! Invariant: the sums say nothing that anything is decided by, so that anybody may read them without a lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How far a drive is brought up to date. The sums are of objects' bytes, each counted once for the copying
/// and once for the comparison behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CatchUpProgress {
    /// Bytes to go through.
    pub bytes: u64,
    /// Bytes of these that were gone through.
    pub done_bytes: u64,
    /// Bytes that were written to the drive since the node started, because it did not have them.
    pub copied_bytes: u64,
    /// Time since it began, milliseconds.
    pub elapsed_ms: u64,
}

/// The sums of a drive that is brought up to date, which all cores add to and read.
#[derive(Debug, Default)]
pub(super) struct CatchUpSums {
    bytes: AtomicU64,
    done_bytes: AtomicU64,
    copied_bytes: AtomicU64,
    since_us: AtomicU64,
    /// When it was first tried in this life; 0 before.
    first_us: AtomicU64,
}

impl CatchUpSums {
    /// Begins again, with nothing to do.
    pub fn begin(&self, now_us: u64) {
        self.since_us.store(now_us, Relaxed);
        // The first try counts for when it is to be done.
        let _ = self.first_us.compare_exchange(0, now_us.max(1), Relaxed, Relaxed);
        self.bytes.store(0, Relaxed);
        self.done_bytes.store(0, Relaxed);
    }

    /// Adds bytes to go through.
    pub fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Notes that bytes were gone through.
    pub fn done(&self, bytes: u64) {
        self.done_bytes.fetch_add(bytes, Relaxed);
    }

    /// Notes that bytes were written to the drive.
    pub fn copied(&self, bytes: u64) {
        self.copied_bytes.fetch_add(bytes, Relaxed);
    }

    /// Notes that all is done, so that what is begun next has its own time.
    pub fn end(&self) {
        self.first_us.store(0, Relaxed);
    }

    /// Returns whether less is done than has to be by now if all is to be done within a time, milliseconds. A tenth of
    /// it is left for what can not be foreseen.
    pub fn is_late(&self, now_us: u64, within_ms: u64) -> bool {
        let (bytes, done) = (self.bytes.load(Relaxed), self.done_bytes.load(Relaxed));
        let elapsed_us = now_us.saturating_sub(self.first_us.load(Relaxed));
        let due_us = u128::from(within_ms) * 900;
        u128::from(done) * due_us < u128::from(bytes) * u128::from(elapsed_us)
    }

    /// Returns how far it is.
    pub fn progress(&self, now_us: u64) -> CatchUpProgress {
        let bytes = self.bytes.load(Relaxed);
        CatchUpProgress {
            bytes,
            // More may be stored meanwhile than there was at first.
            done_bytes: self.done_bytes.load(Relaxed).min(bytes),
            copied_bytes: self.copied_bytes.load(Relaxed),
            elapsed_ms: now_us.saturating_sub(self.since_us.load(Relaxed)) / 1000,
        }
    }
}
