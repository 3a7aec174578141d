//! A failed flush is final for all cores that share a drive: none of them says afterwards that data is durable which
//! the failed flush may have taken away.
//!
//! What the kernel and the drive do: all cores' rings have registered the same open file, and the kernel reports an
//! error of write-back once per open file, to whichever flush asks first. A flush that another core has under way at
//! the same time then succeeds, though it was asked for the same data; and its completion may be seen before that of
//! the failed one, which waits in the other core's ring. A drive whose cache was flushed in vain may answer the next
//! flush well, too. A write that must be durable by its own completion is a write with such a flush behind it, unless
//! the drive takes it past its cache ([`Device::durable_write_flushes`]).
//!
//! Invariants:
//! - Such an operation is a *flight*: it is announced in shared memory before the device hears of it, and settled when
//!   its outcome is known. A failure is published before its flight counts as settled.
//! - An operation that went well is believed only after every flight that other cores had announced before its end
//!   has settled, and none had failed. One that is announced later can not have met an error before it.
//! - A flight settles by its own end alone, never after another one's: so cores can not wait for each other in a ring.
//! - A flight whose future is dropped counts as failed: nobody knows how it went.
//! - Whoever waits sets its bit and then looks once more; whoever settles moves the mark and then takes the bits.
//!
//! `latch_model.rs` checks this over every order of two and three threads.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::{Device, DeviceError, Durability, FlushFuture, IoFuture};
use crate::ring::Buffer;
use crate::sync::shared::SharedWord;
use crate::sync::signal::Signal;

/// Tells another core to look at the drive's flights again.
pub type Tell = Rc<dyn Fn(usize)>;

/// What the cores of a node share about one drive.
pub struct Latch<W = AtomicU64> {
    /// Not 0: a flush failed, on whatever core.
    failed: W,
    cores: Vec<Flights<W>>,
}

/// Of one core. Flights are numbered from 1 in the order they are announced.
struct Flights<W> {
    announced: W,
    /// This one and all before it are settled.
    settled: W,
    /// A bit for each core that waits for `settled` to move.
    waiting: Vec<W>,
}

impl<W: SharedWord> Latch<W> {
    /// For a node of `cores` cores.
    pub fn new(cores: usize) -> Self {
        let flights = |_| Flights {
            announced: W::new(0),
            settled: W::new(0),
            waiting: (0..cores.div_ceil(64)).map(|_| W::new(0)).collect(),
        };
        Self { failed: W::new(0), cores: (0..cores).map(flights).collect() }
    }
}

/// One core's view of a drive. Clones are the same one.
pub struct LatchedDevice<W: SharedWord = AtomicU64>(Rc<View<W>>);

struct View<W> {
    device: Rc<dyn Device>,
    latch: Arc<Latch<W>>,
    own: usize,
    /// The number of the flight announced last.
    announced: Cell<u64>,
    /// Flights that are not settled, in no order: they are few.
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
    /// The view of core `own`.
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

    /// How another core is made to call [`LatchedDevice::look_again`] on its own view. To be said once.
    pub fn set_tell(&self, tell: Tell) {
        assert!(self.0.tell.set(tell).is_ok(), "said twice");
    }

    /// A flight of another core has settled.
    pub fn look_again(&self) {
        self.0.news.raise();
    }
}

/// An announced flight. Dropping it without an outcome is a failure.
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
            // An older one is open: whoever waits for this one waits for that one too.
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

    /// What an operation that has just ended well is worth.
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
