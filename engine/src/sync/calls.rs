//! Answers that are on their way from other cores.
//!
//! Invariant: an answer that nobody waits for any more goes to the call's `orphan` handler, so that what it
//! carries (a pin, a reservation) is given back.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

type Answer = Box<dyn Any + Send>;
type Orphan = Box<dyn FnOnce(Answer)>;

enum Slot {
    Waiting(Option<Waker>),
    Done(Answer),
    Abandoned(Orphan),
}

/// A core's table of calls in flight.
#[derive(Clone, Default)]
pub struct Calls(Rc<RefCell<Table>>);

#[derive(Default)]
struct Table {
    next: u64,
    slots: HashMap<u64, Slot>,
}

impl Calls {
    /// Registers a call; the id travels with the message, the answer comes to [`Calls::complete`].
    pub fn register<R: Send + 'static>(&self, orphan: Option<Box<dyn FnOnce(R)>>) -> (u64, Call<R>) {
        let mut table = self.0.borrow_mut();
        table.next += 1;
        let id = table.next;
        table.slots.insert(id, Slot::Waiting(None));
        (id, Call { calls: self.clone(), id, orphan, done: false })
    }

    /// Brings the answer of call `id`.
    pub fn complete(&self, id: u64, answer: Answer) {
        let slot = self.0.borrow_mut().slots.remove(&id);
        match slot {
            Some(Slot::Waiting(waker)) => {
                self.0.borrow_mut().slots.insert(id, Slot::Done(answer));
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Some(Slot::Abandoned(orphan)) => orphan(answer),
            Some(Slot::Done(_)) | None => panic!("call {id} was answered twice"),
        }
    }
}

/// Resolves to the answer.
pub struct Call<R: Send + 'static> {
    calls: Calls,
    id: u64,
    orphan: Option<Box<dyn FnOnce(R)>>,
    done: bool,
}

// The handler is called, never pinned.
impl<R: Send + 'static> Unpin for Call<R> {}

impl<R: Send + 'static> Future for Call<R> {
    type Output = R;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<R> {
        let answer = {
            let mut table = self.calls.0.borrow_mut();
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
        match answer.downcast::<R>() {
            Ok(answer) => Poll::Ready(*answer),
            Err(_) => panic!("call {} was answered with another type", self.id),
        }
    }
}

impl<R: Send + 'static> Drop for Call<R> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let orphan = self.orphan.take();
        let handle = move |answer: Answer| {
            if let (Some(orphan), Ok(answer)) = (orphan, answer.downcast::<R>()) {
                orphan(*answer);
            }
        };
        let slot = self.calls.0.borrow_mut().slots.remove(&self.id);
        match slot {
            Some(Slot::Done(answer)) => handle(answer),
            Some(_) => {
                self.calls.0.borrow_mut().slots.insert(self.id, Slot::Abandoned(Box::new(handle)));
            }
            None => {}
        }
    }
}
