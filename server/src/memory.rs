//! The memory that the requests of one core may hold at once, beside what each connection has
//! anyway.
//!
//! Invariant: what is reserved is given back when its [`Reservation`] is dropped, however the
//! request ends. A request that finds no memory is answered 503 SlowDown before it costs anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The memory that the requests of one core share. Only that core's thread uses it; it is atomic
/// because what holds it must be `Sync`.
#[derive(Clone, Debug)]
pub struct RequestMemory {
    bytes_max: u64,
    free_bytes: Arc<AtomicU64>,
}

/// A part of the memory that somebody holds. It is given back when this is dropped.
#[derive(Debug)]
pub struct Reservation {
    memory: RequestMemory,
    bytes: AtomicU64,
}

/// There is no room for a request, because other requests hold too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Please reduce your request rate: other requests hold the memory for requests; {free_bytes} bytes are free, and \
     yours needs {needed_bytes}. --memory has the cap."
)]
pub struct OutOfMemory {
    pub needed_bytes: u64,
    pub free_bytes: u64,
}

impl RequestMemory {
    /// Makes a memory of `bytes_max` bytes.
    pub fn new(bytes_max: u64) -> Self {
        Self { bytes_max, free_bytes: Arc::new(AtomicU64::new(bytes_max)) }
    }

    /// Returns the whole size in bytes. What needs more will never find room.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Reserves `bytes`. Fails if fewer are free.
    pub fn reserve(&self, bytes: u64) -> Result<Reservation, OutOfMemory> {
        self.grow(bytes)?;
        Ok(Reservation { memory: self.clone(), bytes: AtomicU64::new(bytes) })
    }

    fn grow(&self, bytes: u64) -> Result<(), OutOfMemory> {
        match self.free_bytes.fetch_update(Relaxed, Relaxed, |free| free.checked_sub(bytes)) {
            Ok(_) => Ok(()),
            Err(free_bytes) => Err(OutOfMemory { needed_bytes: bytes, free_bytes }),
        }
    }
}

impl Reservation {
    /// Changes the reservation to `bytes`. Fails if it can not grow so far, and stays as it was
    /// then.
    pub fn resize(&self, bytes: u64) -> Result<(), OutOfMemory> {
        let before = self.bytes.load(Relaxed);
        match bytes.checked_sub(before) {
            Some(more) => self.memory.grow(more)?,
            None => drop(self.memory.free_bytes.fetch_add(before - bytes, Relaxed)),
        }
        self.bytes.store(bytes, Relaxed);
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.free_bytes.fetch_add(self.bytes.load(Relaxed), Relaxed);
    }
}

/// The memory that an answer holds until it was sent or given up. It travels in the answer's
/// extensions.
#[derive(Clone, Debug)]
pub struct ResponseMemory(Arc<Reservation>);

impl ResponseMemory {
    /// Keeps a reservation for an answer.
    pub fn new(share: Reservation) -> Self {
        Self(Arc::new(share))
    }

    /// Gives back all but `bytes`, which is what an answer needs once it is ready.
    pub fn shrink(&self, bytes: u64) {
        let now = self.0.bytes.load(Relaxed);
        // Giving back never fails.
        let _ = self.0.resize(bytes.min(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_request_holds_another_waits_for() {
        let memory = RequestMemory::new(100);
        let first = memory.reserve(60).unwrap();
        assert_eq!(memory.reserve(41).unwrap_err(), OutOfMemory { needed_bytes: 41, free_bytes: 40 });
        let second = memory.reserve(40).unwrap();
        drop(first);
        assert!(memory.reserve(61).is_err());
        drop(second);
        assert!(memory.reserve(100).is_ok());
    }

    #[test]
    fn shares_grow_and_shrink() {
        let memory = RequestMemory::new(100);
        let share = memory.reserve(10).unwrap();
        share.resize(90).unwrap();
        assert!(share.resize(101).is_err() && memory.reserve(11).is_err());
        let held = ResponseMemory::new(share);
        held.shrink(95);
        assert!(memory.reserve(11).is_err(), "shrinking takes nothing");
        held.shrink(20);
        assert!(memory.reserve(80).is_ok());
        drop(held);
        assert!(memory.reserve(100).is_ok());
    }
}
