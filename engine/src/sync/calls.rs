//! Calls to other cores whose answers are awaited.
//!
//! Invariant: an answer whose call was dropped goes to the call's `orphan` handler, so that what it
//! carries (a pin, a reservation) is released.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Handles an answer whose call was dropped.
type Orphan<T> = Box<dyn FnOnce(T)>;

enum Slot<T> {
    Waiting(Option<Waker>),
    Done(T),
    Abandoned(Option<Orphan<T>>),
}

/// A core's table of calls in flight, whose answers have the type `T`.
pub struct Calls<T>(Rc<RefCell<Table<T>>>);

struct Table<T> {
    next: u64,
    slots: HashMap<u64, Slot<T>>,
}

impl<T> Default for Calls<T> {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(Table { next: 0, slots: HashMap::new() })))
    }
}

impl<T: 'static> Calls<T> {
    /// Registers a call. The id travels with the message, and the answer is passed to
    /// [`Calls::complete`].
    pub fn register(&self, orphan: Option<Orphan<T>>) -> (u64, Call<T>) {
        let mut table = self.0.borrow_mut();
        table.next += 1;
        let id = table.next;
        table.slots.insert(id, Slot::Waiting(None));
        (id, Call { table: self.0.clone(), id, orphan, done: false })
    }

    /// Delivers the answer to call `id`.
    pub fn complete(&self, id: u64, answer: T) {
        let slot = self.0.borrow_mut().slots.remove(&id);
        match slot {
            Some(Slot::Waiting(waker)) => {
                self.0.borrow_mut().slots.insert(id, Slot::Done(answer));
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Some(Slot::Abandoned(orphan)) => {
                if let Some(orphan) = orphan {
                    orphan(answer);
                }
            }
            Some(Slot::Done(_)) | None => panic!("call {id} was answered twice"),
        }
    }
}

/// A future that resolves to the answer of one call.
pub struct Call<T: 'static> {
    table: Rc<RefCell<Table<T>>>,
    id: u64,
    orphan: Option<Orphan<T>>,
    done: bool,
}

// The handler is only called, never polled as a pinned future.
impl<T: 'static> Unpin for Call<T> {}

impl<T: 'static> Future for Call<T> {
    type Output = T;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let answer = {
            let mut table = self.table.borrow_mut();
            match table.slots.remove(&self.id) {
                Some(Slot::Done(answer)) => answer,
                Some(Slot::Waiting(_)) => {
                    table.slots.insert(self.id, Slot::Waiting(Some(context.waker().clone())));
                    return Poll::Pending;
                }
                Some(Slot::Abandoned(_)) | None => panic!("call {} was polled after its end", self.id),
            }
        };
        self.done = true;
        Poll::Ready(answer)
    }
}

impl<T: 'static> Drop for Call<T> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let orphan = self.orphan.take();
        let slot = self.table.borrow_mut().slots.remove(&self.id);
        match slot {
            Some(Slot::Done(answer)) => {
                if let Some(orphan) = orphan {
                    orphan(answer);
                }
            }
            Some(_) => {
                self.table.borrow_mut().slots.insert(self.id, Slot::Abandoned(orphan));
            }
            None => {}
        }
    }
}
