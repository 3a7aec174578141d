//! Messages between cores: one wait-free single-producer single-consumer queue for each ordered
//! pair.
//!
//! Invariants:
//! - Messages from one core to another arrive in the order in which they were sent.
//! - `notified` of a core is set by the sender that must then wake it, and cleared by the core
//!   before it drains. Both exchange the word, so that they are ordered: a sender that finds it set
//!   has pushed its message before the core clears it, and the drain that follows sees the message;
//!   a sender that finds it clear wakes the core.
//! - A full queue never blocks and never loses: the sender keeps the overflow and tries again, and
//!   wakes the core again when it has pushed something.
//!
//! `model.rs` checks this for every interleaving of two and three threads.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::sync::shared::SharedWord;

/// Wakes another core whose mailbox has messages.
pub trait Notifier {
    /// Makes core `target` drain its mailbox soon. It never blocks.
    fn notify(&self, target: usize);
}

/// The sending end of a queue.
pub trait Sender<M> {
    /// Pushes the message, or returns it when the queue is full.
    fn push(&mut self, message: M) -> Option<M>;
}

/// The receiving end of a queue.
pub trait Receiver<M> {
    fn pop(&mut self) -> Option<M>;
}

/// The parts that mailboxes are made of: [`Standard`], or those that the model checker watches.
pub trait Parts<M> {
    type Word: SharedWord;
    type Sender: Sender<M>;
    type Receiver: Receiver<M>;
    fn queue(capacity: usize) -> (Self::Sender, Self::Receiver);
}

/// The atomics of the processor, and queues of `rtrb`.
pub struct Standard;

/// One core's ends of all queues. `M` is the type of messages.
pub struct Mailbox<M, P: Parts<M> = Standard> {
    own: usize,
    outgoing: Vec<RefCell<Outgoing<M, P>>>,
    incoming: Vec<RefCell<Option<P::Receiver>>>,
    notified: Arc<Vec<P::Word>>,
}

struct Outgoing<M, P: Parts<M>> {
    queue: Option<P::Sender>,
    overflow: VecDeque<M>,
}

impl<M, P: Parts<M>> Mailbox<M, P> {
    /// Creates the mailboxes of `cores` cores. Each queue holds `capacity` messages, at least one.
    pub fn mesh(cores: usize, capacity: usize) -> Vec<Self> {
        assert!(capacity > 0, "a queue without room never passes a message on");
        let notified: Arc<Vec<P::Word>> = Arc::new((0..cores).map(|_| P::Word::new(0)).collect());
        let mut boxes: Vec<Self> = (0..cores)
            .map(|own| Self { own, outgoing: Vec::new(), incoming: Vec::new(), notified: notified.clone() })
            .collect();
        for from in 0..cores {
            for to in 0..cores {
                let (sender, receiver) = if from == to {
                    (None, None)
                } else {
                    let (sender, receiver) = P::queue(capacity);
                    (Some(sender), Some(receiver))
                };
                boxes[from]
                    .outgoing
                    .push(RefCell::new(Outgoing { queue: sender, overflow: VecDeque::new() }));
                boxes[to].incoming.push(RefCell::new(receiver));
            }
        }
        boxes
    }

    /// Sends a message to another core. Returns whether messages had to overflow;
    /// [`Mailbox::retry`] must then be called soon.
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

    /// Tries to push the overflow again. Returns whether some of it is left.
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

    /// Passes every waiting message to `receive`, in the order of sending for each sender.
    pub fn drain(&self, mut receive: impl FnMut(M)) {
        self.notified[self.own].exchange(0);
        for incoming in &self.incoming {
            while let Some(message) = Self::next(incoming) {
                receive(message);
            }
        }
    }

    /// Takes a message and releases the queue before the message is handled.
    fn next(incoming: &RefCell<Option<P::Receiver>>) -> Option<M> {
        incoming.borrow_mut().as_mut()?.pop()
    }

    fn wake(&self, target: usize, notifier: &dyn Notifier) {
        if self.notified[target].exchange(1) == 0 {
            notifier.notify(target);
        }
    }
}

impl<M, P: Parts<M>> Outgoing<M, P> {
    fn flush(&mut self) -> bool {
        let Some(queue) = self.queue.as_mut() else { return false };
        while let Some(message) = self.overflow.pop_front() {
            if let Some(message) = queue.push(message) {
                self.overflow.push_front(message);
                return true;
            }
        }
        false
    }
}

impl<M> Parts<M> for Standard {
    type Word = AtomicU64;
    type Sender = Producer<M>;
    type Receiver = Consumer<M>;

    fn queue(capacity: usize) -> (Producer<M>, Consumer<M>) {
        RingBuffer::new(capacity)
    }
}

impl<M> Sender<M> for Producer<M> {
    fn push(&mut self, message: M) -> Option<M> {
        Self::push(self, message).err().map(|rtrb::PushError::Full(message)| message)
    }
}

impl<M> Receiver<M> for Consumer<M> {
    fn pop(&mut self) -> Option<M> {
        Self::pop(self).ok()
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
