//! The latch under `loom`: every interleaving of two or three cores that flush one drive, where one
//! flush fails.
//!
//! Invariants:
//! - The latch is the engine's own code, built on words that loom watches. The drive orders cores
//!   no more than a kernel does, which has one error and reports it to whoever asks first.
//! - Loom reports a core that waits for ever as a deadlock.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::sync::{Arc, Condvar, Mutex};

use super::latch::{Latch, LatchedDevice};
use super::{Device, DeviceError, Durability, FlushFuture, IoFuture};
use crate::ring::{Buffer, Pool};

/// The drive of all cores, and the means by which they notify each other.
struct World {
    /// The error that the first flush meets. What was in the cache is lost with it.
    error: Mutex<bool>,
    lost: AtomicBool,
    cores: Vec<(Mutex<bool>, Condvar)>,
}

struct ModelDrive(Arc<World>);

impl ModelDrive {
    /// Flushes. The error is taken and the cache lost in one step; the answer comes later.
    fn flush_now(&self) -> Result<(), DeviceError> {
        let mut error = self.0.error.lock().expect("no thread panicked");
        if !std::mem::take(&mut *error) {
            return Ok(());
        }
        self.0.lost.store(true, Ordering::Relaxed);
        Err(DeviceError { operation: "flush", offset: 0, length: 0, reason: "modelled".to_owned() })
    }
}

impl Device for ModelDrive {
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

    fn write(&self, _: u64, _: usize, buffer: Buffer, durability: Durability) -> IoFuture {
        let result = if durability == Durability::Immediate { self.flush_now() } else { Ok(()) };
        Box::pin(std::future::ready((result, buffer)))
    }

    fn flush(&self) -> FlushFuture {
        Box::pin(std::future::ready(self.flush_now()))
    }
}

/// The way in which a core makes its earlier writes durable.
#[derive(Clone, Copy)]
enum Way {
    Flush,
    DurableWrite,
    /// A flush whose future is dropped as soon as the drive was asked.
    DroppedFlush,
}

/// Runs core `own` as the engine runs it. Returns whether it tells its client that the data is
/// durable.
fn core(own: usize, way: Way, world: Arc<World>, latch: std::sync::Arc<Latch<AtomicU64>>) -> bool {
    let device = LatchedDevice::new(Rc::new(ModelDrive(world.clone())), latch, own);
    let telling = world.clone();
    device.set_tell(Rc::new(move |core| {
        let (news, changed) = &telling.cores[core];
        *news.lock().expect("no thread panicked") = true;
        changed.notify_one();
    }));
    let running = async {
        match way {
            Way::Flush => device.flush().await.is_ok(),
            Way::DurableWrite => {
                let buffer = Pool::new(0).expect("memory").try_take(4096).expect("a new pool has a buffer");
                device.write(0, 4096, buffer, Durability::Immediate).await.0.is_ok()
            }
            Way::DroppedFlush => {
                drop(device.flush());
                false
            }
        }
    };
    let mut running = pin!(running);
    loop {
        if let Poll::Ready(good) = running.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return good;
        }
        let (news, changed) = &world.cores[own];
        let mut has_news = news.lock().expect("no thread panicked");
        while !std::mem::take(&mut *has_news) {
            has_news = changed.wait(has_news).expect("no thread panicked");
        }
        drop(has_news);
        device.look_again();
    }
}

/// Checks that no core reports lost data as durable. Everything that was written before is in the
/// drive's cache when the cores flush.
fn no_core_believes_a_lie(ways: &'static [Way], preemptions: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(move || {
        let cores = ways.iter().map(|_| (Mutex::new(false), Condvar::new())).collect();
        let world = Arc::new(World { error: Mutex::new(true), lost: AtomicBool::new(false), cores });
        let latch = std::sync::Arc::new(Latch::new(ways.len()));
        let others: Vec<_> = (1..ways.len())
            .map(|own| {
                let (world, latch) = (world.clone(), latch.clone());
                loom::thread::spawn(move || core(own, ways[own], world, latch))
            })
            .collect();
        let mut acknowledged = core(0, ways[0], world.clone(), latch);
        for other in others {
            acknowledged |= other.join().expect("it ends");
        }
        assert!(world.lost.load(Ordering::Relaxed), "the first flush meets the error");
        assert!(!acknowledged, "a core says that lost data is durable");
    });
}

/// The latch checked the failure flag when a flush had succeeded, without waiting for another
/// core's flush that had met the error before and whose completion had not been seen yet.
#[test]
fn a_flush_that_failed_on_one_core_is_believed_on_none() {
    no_core_believes_a_lie(&[Way::Flush, Way::Flush], 4);
    no_core_believes_a_lie(&[Way::Flush, Way::DurableWrite], 4);
}

#[test]
fn three_cores_neither_lie_nor_wait_for_each_other() {
    no_core_believes_a_lie(&[Way::Flush, Way::Flush, Way::DurableWrite], 2);
}

#[test]
fn a_flush_that_nobody_waits_for_counts_as_failed() {
    no_core_believes_a_lie(&[Way::Flush, Way::DroppedFlush], 3);
}
