//! The bodies that are being written on a core, or those who read, told apart by when they began.
//!
//! Invariants:
//! - Whoever writes slices, or commits what was written, is counted from before the first write until the record is
//!   durable or given up.
//! - Whoever reads is counted from before it asks where to read until it has let its pins go.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use crate::sync::signal::Signal;

/// The bodies that are being written on a core, or those who read.
#[derive(Default)]
pub struct Bodies {
    /// What those hold that begin now.
    now: RefCell<Rc<Generation>>,
    /// What those hold that began before, and have not ended when it was looked last.
    before: RefCell<Vec<Weak<Generation>>>,
}

/// Bodies that began between two marks. Each holds it.
#[derive(Default)]
struct Generation {
    ended: Rc<Signal>,
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.ended.raise();
    }
}

/// A body that is being written, or a reader, until it is dropped.
pub struct BodyCount {
    _of: Rc<Generation>,
}

impl Bodies {
    /// Counts a body that begins.
    pub fn begin(&self) -> BodyCount {
        BodyCount { _of: self.now.borrow().clone() }
    }

    /// Returns the number of bodies.
    pub fn count(&self) -> usize {
        let before = self.before.borrow();
        Rc::strong_count(&self.now.borrow()) - 1 + before.iter().map(Weak::strong_count).sum::<usize>()
    }

    /// Parts the bodies that have begun from those that begin from now on.
    pub fn mark(&self) {
        let ended = self.now.borrow().ended.clone();
        let old = self.now.replace(Rc::new(Generation { ended }));
        self.before.borrow_mut().push(Rc::downgrade(&old));
    }

    /// Waits until all bodies have ended that began before the last mark.
    pub async fn old_ones_ended(&self) {
        let ended = self.now.borrow().ended.clone();
        loop {
            let mark = ended.mark();
            self.before.borrow_mut().retain(|old| old.strong_count() > 0);
            if self.before.borrow().is_empty() {
                return;
            }
            ended.after(mark).await;
        }
    }
}
