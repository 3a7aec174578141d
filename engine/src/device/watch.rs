//! The watch over a drive that the node can go on without: whether it answers, and an end for everything
//! that is on its way when it has left the view.
//!
//! Invariants:
//! - What is on its way when the drive leaves ends with an error, and so does all that comes later, which
//!   is not sent. The operation itself may go on for ever: the drive keeps its buffer until it answers,
//!   and the caller gets one of no bytes.
//! - A drive is silent when there is something on its way and nobody has got an answer for a second. That
//!   is a suspicion: its answers may be there, and nobody has asked for them yet.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::pace::{Pace, Paces};
use super::{Device, DeviceError, Durability, FlushFuture, IoFuture};
use crate::env::Environment;
use crate::ring::Buffer;

/// Time between two looks at a drive that has something to do, milliseconds.
const LOOK_MS: u64 = 1000;

/// The part that a drive has in the view in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It holds what it was given.
    Whole,
    /// It gets all that is written, and lacks what was written before it came back.
    CatchingUp,
    /// The view is without it, and it is about to come back.
    Returning,
    /// The view is without it, and nothing is sent to it any more.
    Out,
}

/// What one core knows of a drive.
pub struct Watch {
    environment: Rc<dyn Environment>,
    on_its_way: RefCell<OnItsWay>,
    answers: Cell<u64>,
    part: Cell<Part>,
    /// What the drive holds is moved to other drives.
    leaving: Cell<bool>,
    /// A task looks at the drive, as long as it has something to do.
    looking: Cell<bool>,
    on_silence: OnceCell<Box<dyn Fn()>>,
    paces: Rc<Paces>,
    pace: Rc<Pace>,
}

/// The operations that are on their way, each with its waker once somebody waits for it.
#[derive(Default)]
struct OnItsWay {
    places: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Watch {
    /// Makes the watch over a drive that is not among those with a pace yet.
    pub fn new(environment: Rc<dyn Environment>, part: Part, paces: &Rc<Paces>) -> Rc<Self> {
        Rc::new(Self {
            environment,
            pace: paces.add(),
            paces: paces.clone(),
            on_its_way: RefCell::default(),
            answers: Cell::default(),
            part: Cell::new(part),
            leaving: Cell::new(false),
            looking: Cell::default(),
            on_silence: OnceCell::new(),
        })
    }

    /// Sets what is done when the drive is silent, again and again as long as it is. It must be called only
    /// once.
    pub fn on_silence(&self, tell: Box<dyn Fn()>) {
        assert!(self.on_silence.set(tell).is_ok(), "said twice");
    }

    /// Returns the number of operations that are on their way.
    pub fn queue(&self) -> usize {
        let on_its_way = self.on_its_way.borrow();
        on_its_way.places.len() - on_its_way.free.len()
    }

    /// Returns how many operations the drive has answered, as far as somebody has asked for the answers.
    pub fn answers(&self) -> u64 {
        self.answers.get()
    }

    /// Returns the part that the drive has in the view in use.
    pub fn part(&self) -> Part {
        self.part.get()
    }

    /// Returns whether the view in use is without the drive.
    pub fn has_left(&self) -> bool {
        matches!(self.part.get(), Part::Returning | Part::Out)
    }

    /// Returns the paces of this core's drives.
    pub fn paces(&self) -> &Rc<Paces> {
        &self.paces
    }

    /// Returns the drive's pace.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Returns whether what the drive holds is moved to other drives.
    pub fn is_leaving(&self) -> bool {
        self.leaving.get()
    }

    /// Notes whether what the drive holds is moved to other drives.
    pub fn set_leaving(&self, leaves: bool) {
        self.leaving.set(leaves);
    }

    /// Notes the part of a drive that the view in use has.
    pub fn enter(&self, part: Part) {
        self.part.set(part);
    }

    /// Notes that the view in use is without the drive, and ends all that is on its way.
    pub fn leave(&self) {
        self.part.set(Part::Out);
        self.paces.forget(&self.pace);
        let wakers: Vec<Waker> =
            self.on_its_way.borrow_mut().places.iter_mut().filter_map(Option::take).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Counts an operation that is about to be sent, or returns `None` when the drive has left.
    fn begin(self: &Rc<Self>) -> Option<Operation> {
        if self.part.get() == Part::Out {
            return None;
        }
        let place = {
            let OnItsWay { places, free } = &mut *self.on_its_way.borrow_mut();
            free.pop().unwrap_or_else(|| {
                places.push(None);
                places.len() - 1
            })
        };
        if !self.looking.replace(true) {
            self.environment.spawn(Box::pin(self.clone().look()));
        }
        Some(Operation { watch: self.clone(), place, read: None })
    }

    /// Counts a read like [`Self::begin`]. It tells the drive's pace.
    fn begin_read(self: &Rc<Self>) -> Option<Operation> {
        let mut operation = self.begin()?;
        let began_us = self.paces.now_us();
        operation.read = Some(Read { began_us, attended_after_us: None, is_waited_for: false });
        Some(operation)
    }

    /// Looks at the drive as long as it has something to do.
    async fn look(self: Rc<Self>) {
        let mut seen = self.answers.get();
        loop {
            self.environment.sleep(LOOK_MS).await;
            if self.part.get() == Part::Out || self.queue() == 0 {
                self.looking.set(false);
                return;
            }
            let answers = self.answers.get();
            if std::mem::replace(&mut seen, answers) == answers {
                self.on_silence.get().into_iter().for_each(|tell| tell());
            }
        }
    }
}

/// An operation that is on its way, until it is dropped.
struct Operation {
    watch: Rc<Watch>,
    place: usize,
    read: Option<Read>,
}

/// A read, by which the drive's pace is told.
struct Read {
    began_us: u64,
    /// How long it was on its way when somebody first asked for the answer, microseconds.
    attended_after_us: Option<u64>,
    is_waited_for: bool,
}

impl Operation {
    /// Waits for the answer. Returns `None` when the drive leaves before.
    async fn answer<T>(mut self, mut running: std::pin::Pin<Box<dyn Future<Output = T>>>) -> Option<T> {
        poll_fn(|context| {
            if self.watch.part.get() == Part::Out {
                return Poll::Ready(None);
            }
            let answer = running.as_mut().poll(context);
            self.note_pace(answer.is_ready());
            if let Poll::Ready(answer) = answer {
                self.watch.answers.set(self.watch.answers.get() + 1);
                return Poll::Ready(Some(answer));
            }
            let waker = &mut self.watch.on_its_way.borrow_mut().places[self.place];
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                *waker = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Notes that somebody asked for the answer of a read, and whether it was there.
    fn note_pace(&mut self, is_answered: bool) {
        let Some(read) = &mut self.read else { return };
        if !is_answered && read.is_waited_for {
            return;
        }
        let Watch { paces, pace, .. } = &*self.watch;
        let now_us = paces.now_us();
        let on_its_way_us = now_us - read.began_us;
        let attended_after_us = *read.attended_after_us.get_or_insert(on_its_way_us);
        if !is_answered {
            read.is_waited_for = true;
            return paces.is_waited_for(pace, now_us);
        }
        if std::mem::take(&mut read.is_waited_for) {
            paces.is_waited_for_no_more(pace, Some(now_us));
        }
        paces.answered(pace, on_its_way_us, attended_after_us);
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if self.read.as_ref().is_some_and(|read| read.is_waited_for) {
            self.watch.paces.is_waited_for_no_more(&self.watch.pace, None);
        }
        let OnItsWay { places, free } = &mut *self.watch.on_its_way.borrow_mut();
        places[self.place] = None;
        free.push(self.place);
    }
}

/// A drive under watch.
pub struct WatchedDevice {
    device: Rc<dyn Device>,
    watch: Rc<Watch>,
}

impl WatchedDevice {
    pub fn new(device: Rc<dyn Device>, watch: Rc<Watch>) -> Self {
        Self { device, watch }
    }
}

fn gone(operation: &'static str, offset: u64, length: usize) -> DeviceError {
    DeviceError { operation, offset, length, reason: "the drive has left the view".to_owned() }
}

impl Device for WatchedDevice {
    fn size_bytes(&self) -> u64 {
        self.device.size_bytes()
    }

    fn needs_flush(&self) -> bool {
        self.device.needs_flush()
    }

    fn durable_write_flushes(&self) -> bool {
        self.device.durable_write_flushes()
    }

    fn is_idle(&self) -> bool {
        self.device.is_idle()
    }

    fn read(&self, offset: u64, length: usize, buffer: Buffer) -> IoFuture {
        let start = |buffer| self.device.read(offset, length, buffer);
        transfer(self.watch.begin_read(), ("read", offset, length), buffer, start)
    }

    fn write(&self, offset: u64, length: usize, buffer: Buffer, durability: Durability) -> IoFuture {
        let start = |buffer| self.device.write(offset, length, buffer, durability);
        transfer(self.watch.begin(), ("write", offset, length), buffer, start)
    }

    fn flush(&self) -> FlushFuture {
        let Some(operation) = self.watch.begin() else {
            return Box::pin(std::future::ready(Err(gone("flush", 0, 0))));
        };
        let running = self.device.flush();
        Box::pin(async move { operation.answer(running).await.unwrap_or(Err(gone("flush", 0, 0))) })
    }
}

/// Starts a transfer that was counted, unless its drive has left.
fn transfer(
    operation: Option<Operation>,
    (name, offset, length): (&'static str, u64, usize),
    buffer: Buffer,
    start: impl FnOnce(Buffer) -> IoFuture,
) -> IoFuture {
    let Some(operation) = operation else {
        return Box::pin(std::future::ready((Err(gone(name, offset, length)), buffer)));
    };
    let pool = buffer.pool().clone();
    let running = start(buffer);
    Box::pin(async move {
        let left = || (Err(gone(name, offset, length)), Buffer::none(&pool));
        operation.answer(running).await.unwrap_or_else(left)
    })
}
