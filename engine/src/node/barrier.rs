//! The start-up barrier: points that every core reaches before any core goes on. Core 0 counts the
//! arrivals.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::sync::signal::Signal;

/// The points of the barrier, in their order. Each is reached once in the node's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Every drive has promised the epoch.
    Promised,
    /// Every shard is recovered.
    Open,
    /// Every drive has the view of this life.
    Viewed,
    /// Every core knows the buckets.
    Ready,
    /// Every core is being closed, and accepts no new write.
    Quiet,
    /// Every shard is checkpointed.
    Closed,
}

/// Counts the cores that have reached each phase, and wakes those that wait for the others.
#[derive(Default)]
pub struct PhaseBarrier {
    arrived: RefCell<BTreeMap<Phase, (usize, bool)>>,
    changed: Signal,
}

impl PhaseBarrier {
    /// Notes that one more core reached the phase; `good` tells whether it succeeded. Waits until
    /// all `cores` have arrived, and returns whether all succeeded.
    pub async fn arrive(&self, phase: Phase, good: bool, cores: usize) -> bool {
        {
            let mut arrived = self.arrived.borrow_mut();
            let (count, all_good) = arrived.entry(phase).or_insert((0, true));
            *count += 1;
            *all_good &= good;
        }
        self.changed.raise();
        loop {
            let mark = self.changed.mark();
            let (count, all_good) = self.arrived.borrow()[&phase];
            if count >= cores {
                return all_good;
            }
            self.changed.after(mark).await;
        }
    }
}
