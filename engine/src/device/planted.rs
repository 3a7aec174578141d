//! Devices that break a promise of the log on purpose, for bugs that the simulation must catch. They
//! keep such bugs out of the code that writes the log, and are compiled only with the feature
//! `planted-bugs`.

use std::rc::Rc;

use super::flush::FlushGroup;
use super::{Device, Durability, FlushFuture, IoFuture};
use crate::env::Environment;
use crate::format::BLOCK_BYTES;
use crate::hook::{Bug, Planted};
use crate::ring::{Buffer, Pool};

/// Returns what a shard's log writes to a home with, in place of `device` and `flush`, if the planted bug
/// is one of the log's writes.
pub(crate) fn of_log(
    (planted, home): (Planted, usize),
    device: &Rc<dyn Device>,
    flush: &Rc<FlushGroup>,
    pool: &Pool,
    environment: &Rc<dyn Environment>,
) -> (Rc<dyn Device>, Rc<FlushGroup>) {
    let broken: Rc<dyn Device> = if planted.is(Bug::SkipFlush) {
        Rc::new(SkipsFlush(device.clone()))
    } else if planted.is(Bug::AcknowledgeBeforeCommit)
        || home > 0 && planted.is(Bug::AcknowledgeBeforeLastCopy)
    {
        let (device, pool, environment) = (device.clone(), pool.clone(), environment.clone());
        Rc::new(AnswersFirst { device, pool, environment })
    } else {
        return (device.clone(), flush.clone());
    };
    let flush = FlushGroup::new(broken.clone(), environment.clone());
    (broken, flush)
}

/// A write counts as durable as soon as the drive has it in its cache.
struct SkipsFlush(Rc<dyn Device>);

impl Device for SkipsFlush {
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }

    fn needs_flush(&self) -> bool {
        false
    }

    fn is_idle(&self) -> bool {
        self.0.is_idle()
    }

    fn read(&self, offset: u64, length: usize, buffer: Buffer) -> IoFuture {
        self.0.read(offset, length, buffer)
    }

    fn write(&self, offset: u64, length: usize, buffer: Buffer, _: Durability) -> IoFuture {
        self.0.write(offset, length, buffer, Durability::Deferred)
    }

    fn flush(&self) -> FlushFuture {
        self.0.flush()
    }
}

/// A write is answered while it is still on its way.
struct AnswersFirst {
    device: Rc<dyn Device>,
    pool: Pool,
    environment: Rc<dyn Environment>,
}

impl Device for AnswersFirst {
    fn size_bytes(&self) -> u64 {
        self.device.size_bytes()
    }

    fn needs_flush(&self) -> bool {
        false
    }

    fn is_idle(&self) -> bool {
        self.device.is_idle()
    }

    fn read(&self, offset: u64, length: usize, buffer: Buffer) -> IoFuture {
        self.device.read(offset, length, buffer)
    }

    fn write(&self, offset: u64, length: usize, buffer: Buffer, durability: Durability) -> IoFuture {
        let writing = self.device.write(offset, length, buffer, durability);
        self.environment.spawn(Box::pin(async move { drop(writing.await) }));
        let pool = self.pool.clone();
        Box::pin(async move { (Ok(()), pool.take_for_step(BLOCK_BYTES).await) })
    }

    fn flush(&self) -> FlushFuture {
        self.device.flush()
    }
}
