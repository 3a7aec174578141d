//! A signal that tells waiting tasks to check their condition again.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Counts notices, so that one between a check and the wait is not lost. Any number of tasks may
/// wait.
#[derive(Default)]
pub struct Signal {
    raised: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

impl Signal {
    /// Wakes all tasks that wait. A task that took its mark before this call no longer waits
    /// either.
    pub fn raise(&self) {
        self.raised.set(self.raised.get() + 1);
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Returns a mark to wait from. It must be taken before the condition is checked.
    pub fn mark(&self) -> u64 {
        self.raised.get()
    }

    /// Resolves once [`Signal::raise`] was called after `mark` was taken.
    pub async fn after(&self, mark: u64) {
        poll_fn(|context| {
            if self.raised.get() != mark {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}
