//! The bodies that are being written on a core, told apart by the drives that came back meanwhile.
//!
//! Invariant: whoever writes slices, or commits what was written, is counted from before the first write until
//! the record is durable or given up.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::sync::signal::Signal;

/// The bodies that are being written on a core.
#[derive(Default)]
pub struct Bodies {
    /// How often a drive came back.
    returns: Cell<u64>,
    /// The number of bodies, by the returns before they began.
    begun: RefCell<BTreeMap<u64, usize>>,
    ended: Signal,
}

/// A body that is being written, until it is dropped.
pub struct BodyCount {
    of: Rc<Bodies>,
    returns: u64,
}

impl Bodies {
    /// Counts a body that begins.
    pub fn begin(self: &Rc<Self>) -> BodyCount {
        let returns = self.returns.get();
        *self.begun.borrow_mut().entry(returns).or_default() += 1;
        BodyCount { of: self.clone(), returns }
    }

    /// Returns the number of bodies.
    pub fn count(&self) -> usize {
        self.begun.borrow().values().sum()
    }

    /// Notes that a drive came back: bodies that begin from now on are written to it too.
    pub fn note_return(&self) {
        self.returns.set(self.returns.get() + 1);
    }

    /// Waits until all bodies have ended that began before the last drive came back.
    pub async fn old_ones_ended(&self) {
        loop {
            let mark = self.ended.mark();
            let first = self.begun.borrow().keys().next().copied();
            if first.is_none_or(|first| first >= self.returns.get()) {
                return;
            }
            self.ended.after(mark).await;
        }
    }
}

impl Drop for BodyCount {
    fn drop(&mut self) {
        let mut begun = self.of.begun.borrow_mut();
        if let Some(count) = begun.get_mut(&self.returns) {
            *count -= 1;
            if *count == 0 {
                begun.remove(&self.returns);
                self.of.ended.raise();
            }
        }
    }
}
