//! Mutual exclusion by key between the tasks of one core, in the order of the requests.
//!
//! Invariant: a key is in the table exactly while somebody holds it. A waiter that is dropped after
//! it was granted the key passes it on.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

#[derive(Default)]
struct Waiter {
    granted: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

type Table = Rc<RefCell<HashMap<u64, VecDeque<Rc<Waiter>>>>>;

/// A table of locks, one for each key. Clones share the table.
#[derive(Clone, Default)]
pub struct KeyLocks(Table);

/// Holds a key until it is dropped.
pub struct KeyGuard {
    table: Table,
    key: u64,
}

impl KeyLocks {
    /// Queues for `key`. The key is held when the returned future resolves.
    pub fn lock(&self, key: u64) -> Locking {
        let mut table = self.0.borrow_mut();
        let waiter = Rc::new(Waiter::default());
        match table.get_mut(&key) {
            Some(queue) => queue.push_back(waiter.clone()),
            None => {
                table.insert(key, VecDeque::new());
                waiter.granted.set(true);
            }
        }
        Locking { table: self.0.clone(), key, waiter: Some(waiter) }
    }

    /// Returns the guard of `key`, or `None` if somebody holds the key.
    pub fn try_lock(&self, key: u64) -> Option<KeyGuard> {
        let mut table = self.0.borrow_mut();
        if table.contains_key(&key) {
            return None;
        }
        table.insert(key, VecDeque::new());
        Some(KeyGuard { table: self.0.clone(), key })
    }

    /// Returns the number of keys that are held now.
    pub fn held(&self) -> usize {
        self.0.borrow().len()
    }
}

/// A future that resolves to the guard of a key.
pub struct Locking {
    table: Table,
    key: u64,
    waiter: Option<Rc<Waiter>>,
}

impl Future for Locking {
    type Output = KeyGuard;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<KeyGuard> {
        let granted = match &self.waiter {
            Some(waiter) => {
                *waiter.waker.borrow_mut() = Some(context.waker().clone());
                waiter.granted.get()
            }
            None => panic!("a lock was polled after it was granted"),
        };
        if !granted {
            return Poll::Pending;
        }
        self.waiter = None;
        Poll::Ready(KeyGuard { table: self.table.clone(), key: self.key })
    }
}

impl Drop for Locking {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter.take() else { return };
        if waiter.granted.get() {
            release(&self.table, self.key);
        } else if let Some(queue) = self.table.borrow_mut().get_mut(&self.key) {
            queue.retain(|other| !Rc::ptr_eq(other, &waiter));
        }
    }
}

impl Drop for KeyGuard {
    fn drop(&mut self) {
        release(&self.table, self.key);
    }
}

fn release(table: &Table, key: u64) {
    let mut table = table.borrow_mut();
    let next = table.get_mut(&key).and_then(VecDeque::pop_front);
    match next {
        Some(waiter) => {
            waiter.granted.set(true);
            if let Some(waker) = waiter.waker.borrow_mut().take() {
                waker.wake();
            }
        }
        None => {
            table.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Context;

    fn poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        match Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[test]
    fn first_come_first_served_and_dropped_waiters_pass_it_on() {
        let locks = KeyLocks::default();
        let first = poll(&mut locks.lock(7)).expect("free");
        let (mut second, mut third, mut fourth) = (locks.lock(7), locks.lock(7), locks.lock(7));
        assert!(poll(&mut second).is_none() && poll(&mut third).is_none());
        assert!(poll(&mut locks.lock(8)).is_some(), "another key is free");
        drop(third);
        drop(first);
        drop(second);
        let guard = poll(&mut fourth).expect("passed on by the dropped second");
        assert!(locks.try_lock(7).is_none() && locks.try_lock(9).is_some());
        drop(guard);
        assert!(locks.try_lock(7).is_some());
        assert_eq!(locks.held(), 0);
    }
}
