//! The memory that the requests of one core may hold at once, beside what each connection has anyway.
//!
//! Invariant: what is taken is given back when its [`Share`] is dropped, however the request ends. A request that
//! does not get its share is answered 503 SlowDown before it costs anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes that are free. Only one core's thread uses it; it is atomic because what holds it must be `Sync`.
#[derive(Clone, Debug)]
pub struct RequestMemory {
    bytes_max: u64,
    free_bytes: Arc<AtomicU64>,
}

/// Part of it, in somebody's hands.
#[derive(Debug)]
pub struct Share {
    memory: RequestMemory,
    bytes: AtomicU64,
}

/// Other requests hold too much.
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
    pub fn new(bytes_max: u64) -> Self {
        Self { bytes_max, free_bytes: Arc::new(AtomicU64::new(bytes_max)) }
    }

    /// All of it: what needs more will never find room.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    pub fn take(&self, bytes: u64) -> Result<Share, OutOfMemory> {
        self.grow(bytes)?;
        Ok(Share { memory: self.clone(), bytes: AtomicU64::new(bytes) })
    }

    fn grow(&self, bytes: u64) -> Result<(), OutOfMemory> {
        match self.free_bytes.fetch_update(Relaxed, Relaxed, |free| free.checked_sub(bytes)) {
            Ok(_) => Ok(()),
            Err(free_bytes) => Err(OutOfMemory { needed_bytes: bytes, free_bytes }),
        }
    }
}

impl Share {
    /// Makes it this many bytes.
    pub fn set(&self, bytes: u64) -> Result<(), OutOfMemory> {
        let before = self.bytes.load(Relaxed);
        match bytes.checked_sub(before) {
            Some(more) => self.memory.grow(more)?,
            None => drop(self.memory.free_bytes.fetch_add(before - bytes, Relaxed)),
        }
        self.bytes.store(bytes, Relaxed);
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.free_bytes.fetch_add(self.bytes.load(Relaxed), Relaxed);
    }
}

/// What an answer holds until it was sent or given up; travels in its extensions.
#[derive(Clone, Debug)]
pub struct Held(Arc<Share>);

impl Held {
    pub fn new(share: Share) -> Self {
        Self(Arc::new(share))
    }

    /// An answer that is ready needs its own length and nothing else.
    pub fn shrink(&self, bytes: u64) {
        let now = self.0.bytes.load(Relaxed);
        // Giving back never fails.
        let _ = self.0.set(bytes.min(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_request_holds_another_waits_for() {
        let memory = RequestMemory::new(100);
        let first = memory.take(60).unwrap();
        assert_eq!(memory.take(41).unwrap_err(), OutOfMemory { needed_bytes: 41, free_bytes: 40 });
        let second = memory.take(40).unwrap();
        drop(first);
        assert!(memory.take(61).is_err());
        drop(second);
        assert!(memory.take(100).is_ok());
    }

    #[test]
    fn shares_grow_and_shrink() {
        let memory = RequestMemory::new(100);
        let share = memory.take(10).unwrap();
        share.set(90).unwrap();
        assert!(share.set(101).is_err() && memory.take(11).is_err());
        let held = Held::new(share);
        held.shrink(95);
        assert!(memory.take(11).is_err(), "shrinking takes nothing");
        held.shrink(20);
        assert!(memory.take(80).is_ok());
        drop(held);
        assert!(memory.take(100).is_ok());
    }
}
