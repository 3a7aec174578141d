//! The failure latch of a drive: a failed flush is final for all cores that share the drive. No
//! core says afterwards that data is durable which the failed flush may have lost.
//!
//! What the kernel and the drive do: the rings of all cores have registered the same open file, and
//! the kernel reports an error of write-back once per open file, to whichever flush asks first. A
//! flush that another core has in flight at the same time then succeeds, though it covers the same
//! data, and its completion may be seen before that of the failed one, which is still in the other
//! core's ring. Also, a drive whose flush failed may answer the next flush with success. A write
//! that must be durable when it completes is a write followed by such a flush, unless the drive
//! writes it past its cache ([`Device::durable_write_flushes`]).
//!
//! Invariants:
//! - Such an operation is a *flight*: it is announced in shared memory before it is sent to the
//!   device, and settled when its outcome is known. A failure is published before its flight counts
//!   as settled.
//! - A successful operation is trusted only after every flight that other cores had announced
//!   before its end has settled, and none has failed. A flight that is announced later can not have
//!   consumed an error before it.
//! - A flight is settled by its own end alone, never by that of another one, so cores can not wait
//!   for each other in a circle.
//! - A flight whose future is dropped counts as failed, because its outcome is unknown.
//! - A waiting core sets its bit and then checks once more; a settling core moves the mark and then
//!   takes the bits.
//!
//! `latch_model.rs` checks this for every interleaving of two and three threads.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::{Device, DeviceError, Durability, FlushFuture, IoFuture};
use crate::ring::Buffer;
use crate::sync::shared::SharedWord;
use crate::sync::signal::Signal;

/// Tells another core, by its number, to check the drive's flights again.
pub type Tell = Rc<dyn Fn(usize)>;

/// The state of one drive that the cores of a node share.
pub struct Latch<W = AtomicU64> {
    /// Not 0 if a flush has failed on any core.
    failed: W,
    cores: Vec<Flights<W>>,
}

/// The flights of one core. They are numbered from 1 in the order in which they are announced.
struct Flights<W> {
    announced: W,
    /// The number of the last flight such that it and all before it are settled.
    settled: W,
    /// A bit for each core that waits until `settled` changes.
    waiting: Vec<W>,
}

impl<W: SharedWord> Latch<W> {
    /// Creates the latch of one drive for a node of `cores` cores.
    pub fn new(cores: usize) -> Self {
        let flights = |_| Flights {
            announced: W::new(0),
            settled: W::new(0),
            waiting: (0..cores.div_ceil(64)).map(|_| W::new(0)).collect(),
        };
        Self { failed: W::new(0), cores: (0..cores).map(flights).collect() }
    }
}

/// One core's view of a drive. Clones share the view.
pub struct LatchedDevice<W: SharedWord = AtomicU64>(Rc<View<W>>);

struct View<W> {
    device: Rc<dyn Device>,
    latch: Arc<Latch<W>>,
    own: usize,
    /// The number of the flight that was announced last.
    announced: Cell<u64>,
    /// Flights that are not settled, in no order. There are only a few.
    open: RefCell<Vec<u64>>,
    news: Signal,
    tell: OnceCell<Tell>,
}

impl<W: SharedWord> Clone for LatchedDevice<W> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<W: SharedWord> LatchedDevice<W> {
    /// Creates the view of core `own`.
    pub fn new(device: Rc<dyn Device>, latch: Arc<Latch<W>>, own: usize) -> Self {
        assert!(own < latch.cores.len(), "core {own} of {}", latch.cores.len());
        Self(Rc::new(View {
            device,
            latch,
            own,
            announced: Cell::new(0),
            open: RefCell::default(),
            news: Signal::default(),
            tell: OnceCell::new(),
        }))
    }

    /// Sets the function that makes another core call [`LatchedDevice::look_again`] on its own
    /// view. It must be called only once.
    pub fn set_tell(&self, tell: Tell) {
        assert!(self.0.tell.set(tell).is_ok(), "said twice");
    }

    /// Tells this view that a flight of another core has settled.
    pub fn look_again(&self) {
        self.0.news.raise();
    }
}

/// An announced flight. If it is dropped without an outcome, it has failed.
struct Flight<W: SharedWord> {
    view: Rc<View<W>>,
    number: u64,
    settled: bool,
}

impl<W: SharedWord> Flight<W> {
    fn announce(view: &Rc<View<W>>) -> Self {
        let number = view.announced.get() + 1;
        view.announced.set(number);
        view.open.borrow_mut().push(number);
        view.latch.cores[view.own].announced.store(number);
        Self { view: view.clone(), number, settled: false }
    }

    fn settle(mut self, good: bool) {
        self.settled = true;
        self.view.settle(self.number, good);
    }
}

impl<W: SharedWord> Drop for Flight<W> {
    fn drop(&mut self) {
        if !self.settled {
            self.view.settle(self.number, false);
        }
    }
}

impl<W: SharedWord> View<W> {
    fn settle(&self, number: u64, good: bool) {
        if !good {
            self.latch.failed.store(1);
        }
        let settled = {
            let mut open = self.open.borrow_mut();
            open.retain(|other| *other != number);
            open.iter().min().map_or(self.announced.get(), |first| first - 1)
        };
        if settled < number {
            // An older flight is still open: whoever waits for this one waits for that one too.
            return;
        }
        let flights = &self.latch.cores[self.own];
        flights.settled.store(settled);
        for (at, word) in flights.waiting.iter().enumerate() {
            let mut bits = word.exchange(0);
            while bits != 0 {
                if let Some(tell) = self.tell.get() {
                    tell(at * 64 + bits.trailing_zeros() as usize);
                }
                bits &= bits - 1;
            }
        }
    }

    /// Decides whether an operation that has just succeeded may be reported as a success.
    async fn verdict(&self) -> Result<(), DeviceError> {
        let others = (0..self.latch.cores.len()).filter(|core| *core != self.own);
        let marks: Vec<_> = others.map(|core| (core, self.latch.cores[core].announced.load())).collect();
        for (core, number) in marks {
            self.settled(core, number).await;
        }
        self.refuse_if_failed()
    }

    /// Resolves when flight `number` of `core`, and all before it, are settled.
    async fn settled(&self, core: usize, number: u64) {
        let flights = &self.latch.cores[core];
        while flights.settled.load() < number {
            let mark = self.news.mark();
            flights.waiting[self.own / 64].set_bits(1 << (self.own % 64));
            if flights.settled.load() < number {
                self.news.after(mark).await;
            }
        }
    }

    fn refuse_if_failed(&self) -> Result<(), DeviceError> {
        if self.latch.failed.load() == 0 {
            return Ok(());
        }
        let reason = "an earlier flush of this drive failed".to_owned();
        Err(DeviceError { operation: "flush", offset: 0, length: 0, reason })
    }
}

impl<W: SharedWord + 'static> Device for LatchedDevice<W> {
    fn size_bytes(&self) -> u64 {
        self.0.device.size_bytes()
    }

    fn needs_flush(&self) -> bool {
        self.0.device.needs_flush()
    }

    fn durable_write_flushes(&self) -> bool {
        self.0.device.durable_write_flushes()
    }

    fn is_idle(&self) -> bool {
        self.0.device.is_idle()
    }

    fn read(&self, offset: u64, length: usize, buffer: Buffer) -> IoFuture {
        self.0.device.read(offset, length, buffer)
    }

    fn write(&self, offset: u64, length: usize, buffer: Buffer, durability: Durability) -> IoFuture {
        if durability == Durability::Deferred || !self.0.device.durable_write_flushes() {
            return self.0.device.write(offset, length, buffer, durability);
        }
        let view = self.0.clone();
        let flight = Flight::announce(&view);
        let running = view.device.write(offset, length, buffer, durability);
        Box::pin(async move {
            let (result, buffer) = running.await;
            flight.settle(result.is_ok());
            match result {
                Ok(()) => (view.verdict().await, buffer),
                Err(error) => (Err(error), buffer),
            }
        })
    }

    fn flush(&self) -> FlushFuture {
        if !self.0.device.needs_flush() {
            return self.0.device.flush();
        }
        let view = self.0.clone();
        let flight = Flight::announce(&view);
        let running = view.device.flush();
        Box::pin(async move {
            let result = running.await;
            flight.settle(result.is_ok());
            result?;
            view.verdict().await
        })
    }
}
