//! Messages between cores: one wait-free single-producer single-consumer queue for each ordered pair.
//!
//! Invariants:
//! - Messages from one core to another arrive in the order they were sent.
//! - `notified` of a core is set by the sender who then must wake it, and cleared by the core before it drains:
//!   so a message is either seen by a drain that is still to come, or its sender wakes the core.
//! - A full queue never blocks and never loses: the sender keeps the overflow and tries again.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rtrb::{Consumer, Producer, RingBuffer};

/// Wakes another core whose mailbox has something.
pub trait Notifier {
    /// Makes core `target` drain its mailbox soon. Never blocks.
    fn notify(&self, target: usize);
}

/// One core's ends of all queues. `M` is the message.
pub struct Mailbox<M> {
    own: usize,
    outgoing: Vec<RefCell<Outgoing<M>>>,
    incoming: Vec<RefCell<Option<Consumer<M>>>>,
    notified: Arc<Vec<AtomicBool>>,
}

struct Outgoing<M> {
    queue: Option<Producer<M>>,
    overflow: VecDeque<M>,
}

impl<M: Send> Mailbox<M> {
    /// The mailboxes of `cores` cores, each queue `capacity` messages long.
    pub fn mesh(cores: usize, capacity: usize) -> Vec<Self> {
        let notified: Arc<Vec<AtomicBool>> = Arc::new((0..cores).map(|_| AtomicBool::new(false)).collect());
        let mut boxes: Vec<Self> = (0..cores)
            .map(|own| Self { own, outgoing: Vec::new(), incoming: Vec::new(), notified: notified.clone() })
            .collect();
        for from in 0..cores {
            for to in 0..cores {
                let (producer, consumer) = if from == to {
                    (None, None)
                } else {
                    let (producer, consumer) = RingBuffer::new(capacity);
                    (Some(producer), Some(consumer))
                };
                boxes[from]
                    .outgoing
                    .push(RefCell::new(Outgoing { queue: producer, overflow: VecDeque::new() }));
                boxes[to].incoming.push(RefCell::new(consumer));
            }
        }
        boxes
    }

    /// Sends to another core. Returns whether something had to overflow: then call [`Mailbox::retry`] soon.
    pub fn send(&self, target: usize, message: M, notifier: &dyn Notifier) -> bool {
        assert_ne!(target, self.own, "a core does not send messages to itself");
        let overflowed = {
            let mut outgoing = self.outgoing[target].borrow_mut();
            outgoing.overflow.push_back(message);
            outgoing.flush()
        };
        self.wake(target, notifier);
        overflowed
    }

    /// Tries the overflow again; returns whether some is left.
    pub fn retry(&self, notifier: &dyn Notifier) -> bool {
        let mut left = false;
        for target in (0..self.outgoing.len()).filter(|&target| target != self.own) {
            let (had, overflowed) = {
                let mut outgoing = self.outgoing[target].borrow_mut();
                (!outgoing.overflow.is_empty(), outgoing.flush())
            };
            if had {
                self.wake(target, notifier);
            }
            left |= overflowed;
        }
        left
    }

    /// Hands every waiting message to `receive`, in order for each sender.
    pub fn drain(&self, mut receive: impl FnMut(M)) {
        self.notified[self.own].store(false, Ordering::SeqCst);
        for incoming in &self.incoming {
            while let Some(message) = incoming.borrow_mut().as_mut().and_then(|queue| queue.pop().ok()) {
                receive(message);
            }
        }
    }

    fn wake(&self, target: usize, notifier: &dyn Notifier) {
        if !self.notified[target].swap(true, Ordering::SeqCst) {
            notifier.notify(target);
        }
    }
}

impl<M> Outgoing<M> {
    fn flush(&mut self) -> bool {
        let Some(queue) = self.queue.as_mut() else { return false };
        while let Some(message) = self.overflow.pop_front() {
            if let Err(rtrb::PushError::Full(message)) = queue.push(message) {
                self.overflow.push_front(message);
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    struct Count(Cell<usize>);
    impl Notifier for Count {
        fn notify(&self, _target: usize) {
            self.0.set(self.0.get() + 1);
        }
    }

    #[test]
    fn order_is_kept_through_overflow_and_one_wake_serves_many() {
        let mut mesh = Mailbox::<u32>::mesh(2, 4);
        let (receiver, sender) = (mesh.pop().expect("two"), mesh.pop().expect("two"));
        let count = Count(Cell::new(0));
        for value in 0..10 {
            assert_eq!(sender.send(1, value, &count), value >= 4);
        }
        assert_eq!(count.0.get(), 1);
        let mut seen = Vec::new();
        loop {
            receiver.drain(|value| seen.push(value));
            if !sender.retry(&count) && seen.len() == 10 {
                break;
            }
        }
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
    }
}
