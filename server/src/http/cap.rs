//! The cap on open connections: the whole node's, wherever the kernel puts them.
//!
//! Invariant: a slot is taken before a connection is served and given back when it ends, however it ends. The count is
//! the one thing that cores share here: it is touched twice in the life of a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Clones count together.
#[derive(Clone, Debug)]
pub struct ConnectionCap {
    open: Arc<AtomicUsize>,
    max: usize,
}

/// The place of one connection.
#[derive(Debug)]
pub struct ConnectionSlot(Arc<AtomicUsize>);

impl ConnectionCap {
    pub fn new(max: usize) -> Self {
        Self { open: Arc::default(), max }
    }

    /// None at the cap.
    pub fn take(&self) -> Option<ConnectionSlot> {
        let more = |open: usize| (open < self.max).then_some(open + 1);
        self.open.fetch_update(Relaxed, Relaxed, more).ok().map(|_| ConnectionSlot(self.open.clone()))
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_core_may_have_what_another_does_not_use() {
        let node = ConnectionCap::new(3);
        let (first, second) = (node.clone(), node);
        let held: Vec<_> = (0..3).map(|_| first.take().unwrap()).collect();
        assert!(first.take().is_none() && second.take().is_none());
        drop(held);
        assert!((0..3).map(|_| second.take()).all(|slot| slot.is_some()), "all were given back");
    }
}
