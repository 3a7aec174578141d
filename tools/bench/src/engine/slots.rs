//! This module holds the slots of an engine whose operations are tasks on the job's own thread.
//! Each slot has a task that waits for its next operation, and a buffer that goes to the task with
//! the operation and comes back with the completion.

use super::{Completion, Operation};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::task::{Context, Poll, Waker};

/// Stores the waker of a task. Wake-ups may be spurious: the task checks its condition again.
#[derive(Default)]
pub struct Bell(RefCell<Option<Waker>>);

impl Bell {
    /// Stores the waker of the current task.
    pub fn remember(&self, context: &Context<'_>) {
        let mut place = self.0.borrow_mut();
        if !place.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *place = Some(context.waker().clone());
        }
    }

    /// Wakes the task.
    pub fn ring(&self) {
        if let Some(waker) = &*self.0.borrow() {
            waker.wake_by_ref();
        }
    }
}

#[derive(Default)]
struct Slot {
    buffer: RefCell<Box<[u8]>>,
    operation: Cell<Option<Operation>>,
    bell: Bell,
}

/// This is the side of the slots that the tasks use.
pub struct Slots {
    slots: Vec<Slot>,
    done: RefCell<Vec<Completion>>,
    in_flight: Cell<usize>,
    leaving: Cell<bool>,
    /// Counts the tasks that have not ended.
    pub tasks: Cell<usize>,
    /// Wakes the future that waits in `reap`.
    pub main: Bell,
}

impl Slots {
    pub fn new(depth: u32) -> Self {
        Self {
            slots: (0..depth.max(1)).map(|_| Slot::default()).collect(),
            done: RefCell::default(),
            in_flight: Cell::new(0),
            leaving: Cell::new(false),
            tasks: Cell::new(0),
            main: Bell::default(),
        }
    }

    pub fn count(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Waits for the next operation of a slot, and returns it with the slot's buffer; `None` when
    /// the engine is closed.
    pub fn next(&self, slot: u32) -> impl Future<Output = Option<(Operation, Box<[u8]>)>> + '_ {
        let place = &self.slots[slot as usize];
        std::future::poll_fn(move |context| {
            if self.leaving.get() {
                return Poll::Ready(None);
            }
            if let Some(operation) = place.operation.take() {
                return Poll::Ready(Some((operation, place.buffer.take())));
            }
            place.bell.remember(context);
            Poll::Pending
        })
    }

    /// Completes the operation of a slot with its bytes or a negative errno.
    pub fn complete(&self, slot: u32, result: i64, buffer: Box<[u8]>) {
        self.slots[slot as usize].buffer.replace(buffer);
        self.done.borrow_mut().push(Completion { slot, result });
        self.in_flight.set(self.in_flight.get() - 1);
        self.main.ring();
    }

    /// Records that a task has ended.
    pub fn end_task(&self) {
        self.tasks.set(self.tasks.get() - 1);
        self.main.ring();
    }

    /// Returns the number of completions that wait to be collected.
    pub fn done(&self) -> usize {
        self.done.borrow().len()
    }

    /// Returns the number of operations that have been submitted and not completed.
    pub fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// Returns whether the tasks have been told to end.
    pub fn is_leaving(&self) -> bool {
        self.leaving.get()
    }

    /// Tells the tasks to end after their current operations.
    pub fn leave(&self) {
        self.leaving.set(true);
        self.slots.iter().for_each(|slot| slot.bell.ring());
    }
}

/// This is the side of the slots that the job uses: it holds the buffers of free slots, and the
/// operations submitted since the tasks were last woken.
pub struct Desk {
    buffers: Vec<Box<[u8]>>,
    queued: Vec<u32>,
}

impl Desk {
    pub fn new(slots: &Slots, buffer_bytes: u64) -> Self {
        let buffer = |_| vec![0; buffer_bytes as usize].into_boxed_slice();
        Self { buffers: (0..slots.count()).map(buffer).collect(), queued: Vec::new() }
    }

    /// Returns the buffer of a free slot.
    pub fn buffer(&mut self, slot: u32) -> &mut [u8] {
        &mut self.buffers[slot as usize]
    }

    /// Passes an operation and the slot's buffer to the slot's task, which is woken by `ring`.
    pub fn submit(&mut self, slots: &Slots, slot: u32, operation: &Operation) {
        let place = &slots.slots[slot as usize];
        let buffer = std::mem::take(&mut self.buffers[slot as usize]);
        place.buffer.replace(buffer);
        assert!(place.operation.replace(Some(*operation)).is_none(), "slot {slot} is not free");
        slots.in_flight.set(slots.in_flight.get() + 1);
        self.queued.push(slot);
    }

    /// Wakes the tasks of the queued operations. It must be called on the executor that runs them.
    pub fn ring(&mut self, slots: &Slots) {
        for slot in self.queued.drain(..) {
            slots.slots[slot as usize].bell.ring();
        }
    }

    /// Collects the completions and their buffers.
    pub fn collect(&mut self, slots: &Slots, done: &mut Vec<Completion>) {
        for completion in slots.done.borrow_mut().drain(..) {
            let slot = completion.slot as usize;
            self.buffers[slot] = slots.slots[slot].buffer.take();
            done.push(completion);
        }
    }
}
