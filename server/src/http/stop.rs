//! "Stop" on one core: said once, heard by everyone who waits for it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

#[derive(Clone, Default)]
pub struct Stop(Rc<Inner>);

#[derive(Default)]
struct Inner {
    said: Cell<bool>,
    next: Cell<u64>,
    waiting: RefCell<HashMap<u64, Waker>>,
}

impl Stop {
    pub fn say(&self) {
        self.0.said.set(true);
        let waiting = std::mem::take(&mut *self.0.waiting.borrow_mut());
        waiting.into_values().for_each(Waker::wake);
    }

    pub fn said(&self) -> bool {
        self.0.said.get()
    }

    /// Resolves when stop was said.
    pub fn heard(&self) -> Heard {
        let id = self.0.next.get();
        self.0.next.set(id + 1);
        Heard { stop: self.clone(), id }
    }
}

pub struct Heard {
    stop: Stop,
    id: u64,
}

impl Future for Heard {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.stop.said() {
            return Poll::Ready(());
        }
        let mut waiting = self.stop.0.waiting.borrow_mut();
        match waiting.get_mut(&self.id) {
            Some(waker) => waker.clone_from(context.waker()),
            None => drop(waiting.insert(self.id, context.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.stop.0.waiting.borrow_mut().remove(&self.id);
    }
}
