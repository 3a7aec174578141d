//! "Something changed, look again."

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Remembers one notice, so that a notice before the wait is not lost. Any number of tasks may wait.
#[derive(Default)]
pub struct Signal {
    raised: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

impl Signal {
    /// Wakes everybody who waits, now or since their last look.
    pub fn raise(&self) {
        self.raised.set(self.raised.get() + 1);
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_iter().for_each(Waker::wake);
    }

    /// A mark to wait from: take it before looking at the condition.
    pub fn mark(&self) -> u64 {
        self.raised.get()
    }

    /// Resolves once it was raised after `mark` was taken.
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
