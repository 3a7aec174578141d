//! Points that every core reaches before any goes on: open, ready, quiet, closed. Counted on core 0.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::sync::signal::Signal;

/// In this order, each once in the node's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Every shard is recovered.
    Open,
    /// Every core knows the buckets.
    Ready,
    /// No core has requests any more.
    Quiet,
    /// Every shard is checkpointed.
    Closed,
}

/// See the module.
#[derive(Default)]
pub struct PhaseBarrier {
    arrived: RefCell<BTreeMap<Phase, (usize, bool)>>,
    changed: Signal,
}

impl PhaseBarrier {
    /// One more core is there; `good` when it got there well. Resolves when all `cores` are: whether all were well.
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
