//! The request to shut down, as the tasks of one core see it.
//!
//! Invariant: a shutdown is requested once and stays so. Every task that waits is woken then, and
//! whoever asks later gets the answer at once.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Tells the tasks of one core that they shall end. Clones share their state.
#[derive(Clone, Default)]
pub struct Shutdown(Rc<Inner>);

#[derive(Default)]
struct Inner {
    requested: Cell<bool>,
    next: Cell<u64>,
    waiting: RefCell<HashMap<u64, Waker>>,
}

impl Shutdown {
    /// Requests the shutdown and wakes every task that waits for it.
    pub fn request(&self) {
        self.0.requested.set(true);
        let waiting = std::mem::take(&mut *self.0.waiting.borrow_mut());
        waiting.into_values().for_each(Waker::wake);
    }

    /// Returns whether a shutdown was requested.
    pub fn is_requested(&self) -> bool {
        self.0.requested.get()
    }

    /// Returns a future that resolves once a shutdown was requested.
    pub fn requested(&self) -> Requested {
        let id = self.0.next.get();
        self.0.next.set(id + 1);
        Requested { shutdown: self.clone(), id }
    }
}

/// The future that [`Shutdown::requested`] returns.
pub struct Requested {
    shutdown: Shutdown,
    id: u64,
}

impl Future for Requested {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.shutdown.is_requested() {
            return Poll::Ready(());
        }
        let mut waiting = self.shutdown.0.waiting.borrow_mut();
        match waiting.get_mut(&self.id) {
            Some(waker) => waker.clone_from(context.waker()),
            None => drop(waiting.insert(self.id, context.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Requested {
    fn drop(&mut self) {
        self.shutdown.0.waiting.borrow_mut().remove(&self.id);
    }
}
