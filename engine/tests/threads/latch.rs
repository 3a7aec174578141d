//! Cores that flush one drive, which fails once and reports it to only one of them.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use ringbolt_engine::device::latch::{Latch, LatchedDevice};
use ringbolt_engine::device::{Device, DeviceError, Durability, FlushFuture, IoFuture};
use ringbolt_engine::ring::Buffer;

const CORES: usize = 2;

/// The state that the cores share in one round.
struct World {
    latch: Arc<Latch>,
    /// The number of flushes so far, in the drive's order.
    flushes: AtomicU64,
    /// The number of the flush that fails and loses what every later one should have made durable.
    failing: u64,
    news: [AtomicBool; CORES],
}

/// The drive as one core sees it.
struct Drive {
    world: Arc<World>,
    /// The number of this core's last flush.
    number: Rc<Cell<u64>>,
}

impl Device for Drive {
    fn size_bytes(&self) -> u64 {
        1 << 20
    }

    fn needs_flush(&self) -> bool {
        true
    }

    fn is_idle(&self) -> bool {
        true
    }

    fn read(&self, _: u64, _: usize, buffer: Buffer) -> IoFuture {
        Box::pin(std::future::ready((Ok(()), buffer)))
    }

    fn write(&self, _: u64, _: usize, buffer: Buffer, _: Durability) -> IoFuture {
        Box::pin(std::future::ready((Ok(()), buffer)))
    }

    fn flush(&self) -> FlushFuture {
        let number = self.world.flushes.fetch_add(1, Ordering::SeqCst);
        self.number.set(number);
        let fails = number == self.world.failing;
        let mut looks = 0;
        Box::pin(std::future::poll_fn(move |_| {
            // The answer of the flush that fails is seen late.
            looks += 1;
            if fails && looks < 4 {
                std::thread::yield_now();
                return Poll::Pending;
            }
            let error =
                || DeviceError { operation: "flush", offset: 0, length: 0, reason: "a test".to_owned() };
            Poll::Ready(if fails { Err(error()) } else { Ok(()) })
        }))
    }
}

/// Flushes until it learns that a flush has failed.
fn core(own: usize, world: &Arc<World>) {
    let number = Rc::new(Cell::new(0));
    let drive = Drive { world: world.clone(), number: number.clone() };
    let device = LatchedDevice::new(Rc::new(drive), world.latch.clone(), own);
    let telling = world.clone();
    device.set_tell(Rc::new(move |core| telling.news[core].store(true, Ordering::SeqCst)));
    loop {
        let mut flush = pin!(device.flush());
        let result = loop {
            if world.news[own].swap(false, Ordering::SeqCst) {
                device.look_again();
            }
            match flush.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(result) => break result,
                Poll::Pending => std::thread::yield_now(),
            }
        };
        if result.is_err() {
            return;
        }
        assert!(number.get() < world.failing, "flush {} of core {own} is a lie", number.get());
    }
}

#[test]
fn no_flush_is_believed_after_one_that_failed() {
    for round in 0..crate::rounds() {
        let world = Arc::new(World {
            latch: Arc::new(Latch::new(CORES)),
            flushes: AtomicU64::new(0),
            failing: round % 20,
            news: Default::default(),
        });
        std::thread::scope(|threads| {
            let world = &world;
            let cores: Vec<_> = (0..CORES).map(|own| threads.spawn(move || core(own, world))).collect();
            cores.into_iter().for_each(|core| core.join().expect("a core ends well"));
        });
    }
}
