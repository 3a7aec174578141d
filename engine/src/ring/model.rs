//! Mailboxes, the wake-up and the order of the loop under `loom`: every interleaving of two or
//! three threads.
//!
//! Invariants:
//! - The mailbox and the loop are the engine's own code; queue, words and kernel are replaced by
//!   ones that loom watches. The queue synchronises no more than `rtrb` does, so it hides nothing.
//! - A lost wake-up is a thread that sleeps for ever, which loom reports as a deadlock.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};

use super::mailbox::{Mailbox, Notifier, Parts, Receiver, Sender};
use crate::ring::driver::attend;

type ModelBox = Mailbox<u64, Modelled>;

struct Modelled;

/// A ring buffer of words between one sender and one receiver.
struct Ring {
    slots: Vec<AtomicU64>,
    pushed: AtomicUsize,
    popped: AtomicUsize,
}

struct End(Arc<Ring>);

impl Parts<u64> for Modelled {
    type Word = AtomicU64;
    type Sender = End;
    type Receiver = End;

    fn queue(capacity: usize) -> (End, End) {
        let slots = (0..capacity).map(|_| AtomicU64::new(0)).collect();
        let ring = Arc::new(Ring { slots, pushed: AtomicUsize::new(0), popped: AtomicUsize::new(0) });
        (End(ring.clone()), End(ring))
    }
}

impl Sender<u64> for End {
    fn push(&mut self, message: u64) -> Option<u64> {
        let (ring, pushed) = (&self.0, self.0.pushed.load(Ordering::Relaxed));
        if pushed - ring.popped.load(Ordering::Acquire) == ring.slots.len() {
            return Some(message);
        }
        ring.slots[pushed % ring.slots.len()].store(message, Ordering::Relaxed);
        ring.pushed.store(pushed + 1, Ordering::Release);
        None
    }
}

impl Receiver<u64> for End {
    fn pop(&mut self) -> Option<u64> {
        let (ring, popped) = (&self.0, self.0.popped.load(Ordering::Relaxed));
        if ring.pushed.load(Ordering::Acquire) == popped {
            return None;
        }
        let message = ring.slots[popped % ring.slots.len()].load(Ordering::Relaxed);
        ring.popped.store(popped + 1, Ordering::Release);
        Some(message)
    }
}

/// The way in which a loop waits for its ring.
#[derive(Clone, Copy)]
enum Trigger {
    /// Arming a poll checks whether a completion is there (the server's loop).
    Level,
    /// An event is kept from the completion until it is waited for (the loop of the tools).
    Edge,
}

/// The completion queues of all cores, as the kernel sees them.
struct Kernel {
    trigger: Trigger,
    cores: Vec<Completions>,
}

struct Completions {
    posted: AtomicUsize,
    event: Mutex<bool>,
    changed: Condvar,
}

impl Kernel {
    fn new(cores: usize, trigger: Trigger) -> Arc<Self> {
        let completions = |_| Completions {
            posted: AtomicUsize::new(0),
            event: Mutex::new(false),
            changed: Condvar::new(),
        };
        Arc::new(Self { trigger, cores: (0..cores).map(completions).collect() })
    }

    fn wait(&self, core: usize, reaped: usize) {
        let core = &self.cores[core];
        let mut event = core.event.lock().expect("no thread panicked");
        let nothing = |event: bool| match self.trigger {
            Trigger::Level => core.posted.load(Ordering::Acquire) == reaped,
            Trigger::Edge => !event,
        };
        while nothing(*event) {
            event = core.changed.wait(event).expect("no thread panicked");
        }
        *event = false;
    }
}

struct Wire(Arc<Kernel>);

impl Notifier for Wire {
    fn notify(&self, target: usize) {
        let core = &self.0.cores[target];
        core.posted.fetch_add(1, Ordering::Release);
        *core.event.lock().expect("no thread panicked") = true;
        core.changed.notify_one();
    }
}

/// Runs the engine's loop on core `own` until `count` messages have come. It reaps as
/// [`super::Ring`] does: the completions first, then the mailbox.
fn receive(own: usize, mailbox: &ModelBox, kernel: &Kernel, count: usize, mut each: impl FnMut(u64)) {
    let (reaped, received) = (Cell::new(0), Cell::new(0));
    let reap = || {
        let posted = kernel.cores[own].posted.load(Ordering::Acquire);
        if reaped.replace(posted) < posted {
            mailbox.drain(|message| {
                received.set(received.get() + 1);
                each(message);
            });
        }
    };
    let ready = async || {
        let more = received.get() < count;
        if more {
            kernel.wait(own, reaped.get());
        }
        more
    };
    let running = pin!(attend(reap, ready));
    assert_eq!(running.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(()));
}

fn send_all(mailbox: &ModelBox, target: usize, messages: std::ops::Range<u64>, wire: &Wire) {
    for message in messages {
        mailbox.send(target, message, wire);
    }
    while mailbox.retry(wire) {
        loom::thread::yield_now();
    }
}

fn check(preemptions: usize, scenario: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(scenario);
}

/// Runs senders with a range of messages each, and one receiver.
fn many_to_one(senders: u64, each: u64, capacity: usize, trigger: Trigger, preemptions: usize) {
    check(preemptions, move || {
        let mut mesh: VecDeque<ModelBox> = Mailbox::mesh(senders as usize + 1, capacity).into();
        let kernel = Kernel::new(mesh.len(), trigger);
        let receiver = mesh.pop_front().expect("core 0");
        let threads: Vec<_> = (1..)
            .zip(mesh)
            .map(|(core, mailbox): (u64, ModelBox)| {
                let wire = Wire(kernel.clone());
                loom::thread::spawn(move || send_all(&mailbox, 0, core * 10..core * 10 + each, &wire))
            })
            .collect();
        let mut seen = Vec::new();
        receive(0, &receiver, &kernel, (senders * each) as usize, |message| seen.push(message));
        threads.into_iter().for_each(|thread| thread.join().expect("a sender ends"));
        for core in 1..=senders {
            let of_core: Vec<u64> = seen.iter().copied().filter(|message| message / 10 == core).collect();
            assert_eq!(of_core, (core * 10..core * 10 + each).collect::<Vec<_>>(), "in order, once");
        }
    });
}

/// A mailbox that cleared the notice after it had drained, and not before, was woken for the last
/// time by a message that it did not see.
#[test]
fn no_wake_up_is_lost() {
    for trigger in [Trigger::Level, Trigger::Edge] {
        many_to_one(1, 2, 4, trigger, 4);
    }
    many_to_one(2, 1, 1, Trigger::Level, 3);
}

/// A sender that passed on its overflow and did not notify again left it unseen.
#[test]
fn no_wake_up_is_lost_through_a_full_queue() {
    for trigger in [Trigger::Level, Trigger::Edge] {
        many_to_one(1, 3, 1, trigger, 3);
    }
    many_to_one(1, 4, 2, Trigger::Level, 2);
}

/// Each core sends to the other one and receives. The notices of the two do not replace each other.
#[test]
fn two_cores_wake_each_other() {
    check(3, || {
        let mut mesh: Vec<ModelBox> = Mailbox::mesh(2, 1);
        let kernel = Kernel::new(2, Trigger::Level);
        let (one, zero) = (mesh.pop().expect("core 1"), mesh.pop().expect("core 0"));
        let (wire, there) = (Wire(kernel.clone()), kernel.clone());
        let other = loom::thread::spawn(move || {
            let mut asked = 0;
            receive(1, &one, &there, 1, |message| asked = message);
            send_all(&one, 0, asked + 1..asked + 2, &wire);
        });
        send_all(&zero, 1, 7..8, &Wire(kernel.clone()));
        let mut answer = 0;
        receive(0, &zero, &kernel, 1, |message| answer = message);
        assert_eq!(answer, 8);
        other.join().expect("it ends");
    });
}
