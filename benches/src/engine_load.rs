//! This module puts closed-loop load on one core of the engine: a number of workers, each with one
//! operation in flight.
//!
//! Invariants: what is counted lies between the end of the ramp and the end of the run, on one
//! clock; CPU time and bytes are taken at the same two moments. The first failed operation ends the
//! run and is its result.

use crate::executor::{Executor, Latch};
use crate::stats::percentile;
use crate::usage::{OwnIo, own_cpu_us, own_io};
use ringbolt_engine::node::Core;
use ringbolt_engine::types::{BucketCreated, BucketId, ObjectMeta, WriteCondition};
use ringbolt_engine::{EngineError, Result as EngineResult};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the operating system refused to account: {0}")]
    Io(#[from] io::Error),
    #[error("an operation failed: {0}")]
    Engine(#[from] EngineError),
    #[error("object {key} read back wrong: {what}")]
    WrongBytes { key: String, what: String },
    #[error("no operation ended within the measured time; run longer")]
    NothingMeasured,
}

#[derive(Clone, Copy, Debug)]
pub struct LoadPlan {
    /// This is the number of operations in flight.
    pub depth: usize,
    pub ramp: Duration,
    pub runtime: Duration,
}

#[derive(Clone, Debug)]
pub struct LoadResult {
    pub operations: u64,
    pub operations_per_s: f64,
    pub bytes_per_s: f64,
    pub cpu_us_per_operation: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// Counts bytes that reached the block layer, for each operation.
    pub device_read_bytes_per_operation: f64,
    pub device_write_bytes_per_operation: f64,
}

#[derive(Clone, Copy)]
struct Mark {
    at: Instant,
    cpu_us: u64,
    io: OwnIo,
}

impl Mark {
    fn now() -> io::Result<Self> {
        Ok(Self { at: Instant::now(), cpu_us: own_cpu_us()?, io: own_io()? })
    }
}

/// This is shared by the workers of one run.
struct Run {
    started: Instant,
    plan: LoadPlan,
    begin: Cell<Option<Mark>>,
    end: Cell<Option<Mark>>,
    bytes: Cell<u64>,
    latencies_ns: RefCell<Vec<u32>>,
    failure: RefCell<Option<LoadError>>,
}

impl Run {
    /// Counts one operation; returns false when the worker must stop.
    fn account(&self, issued: Instant, outcome: Result<u64, LoadError>) -> bool {
        let counted = outcome.and_then(|bytes| self.count(issued, bytes));
        match counted {
            Ok(go_on) => go_on && self.failure.borrow().is_none(),
            Err(error) => {
                self.failure.borrow_mut().get_or_insert(error);
                false
            }
        }
    }

    fn count(&self, issued: Instant, bytes: u64) -> Result<bool, LoadError> {
        let now = Instant::now();
        let elapsed = now - self.started;
        if elapsed < self.plan.ramp {
            return Ok(true);
        }
        if self.begin.get().is_none() {
            self.begin.set(Some(Mark::now()?));
            return Ok(true);
        }
        if elapsed >= self.plan.ramp + self.plan.runtime {
            if self.end.get().is_none() {
                self.end.set(Some(Mark::now()?));
            }
            return Ok(false);
        }
        self.bytes.set(self.bytes.get() + bytes);
        self.latencies_ns.borrow_mut().push((now - issued).as_nanos().min(u32::MAX as u128) as u32);
        Ok(true)
    }

    fn result(&self) -> Result<LoadResult, LoadError> {
        if let Some(error) = self.failure.borrow_mut().take() {
            return Err(error);
        }
        let (Some(begin), Some(end)) = (self.begin.get(), self.end.get()) else {
            return Err(LoadError::NothingMeasured);
        };
        let mut latencies = self.latencies_ns.borrow_mut();
        if latencies.is_empty() {
            return Err(LoadError::NothingMeasured);
        }
        let operations = latencies.len() as f64;
        let seconds = (end.at - begin.at).as_secs_f64();
        Ok(LoadResult {
            operations: latencies.len() as u64,
            operations_per_s: operations / seconds,
            bytes_per_s: self.bytes.get() as f64 / seconds,
            cpu_us_per_operation: (end.cpu_us - begin.cpu_us) as f64 / operations,
            p50_us: f64::from(percentile(&mut latencies, 0.50)) / 1000.0,
            p99_us: f64::from(percentile(&mut latencies, 0.99)) / 1000.0,
            device_read_bytes_per_operation: (end.io.read_bytes - begin.io.read_bytes) as f64 / operations,
            device_write_bytes_per_operation: (end.io.write_bytes - begin.io.write_bytes) as f64 / operations,
        })
    }
}

/// Runs `operation` in `plan.depth` workers; it returns the bytes it moved.
pub fn run_load<Operation, Pending>(
    executor: &Executor,
    plan: LoadPlan,
    operation: Operation,
) -> Result<LoadResult, LoadError>
where
    Operation: Fn() -> Pending + 'static,
    Pending: Future<Output = Result<u64, LoadError>> + 'static,
{
    let run = Rc::new(Run {
        started: Instant::now(),
        plan,
        begin: Cell::new(None),
        end: Cell::new(None),
        bytes: Cell::new(0),
        latencies_ns: RefCell::new(Vec::with_capacity(1 << 20)),
        failure: RefCell::new(None),
    });
    let latch = Latch::new(plan.depth);
    let operation = Rc::new(operation);
    for _ in 0..plan.depth {
        let (run, latch, operation) = (run.clone(), latch.clone(), operation.clone());
        executor.spawn(async move {
            loop {
                let issued = Instant::now();
                let outcome = operation().await;
                if !run.account(issued, outcome) {
                    break;
                }
            }
            latch.count_down();
        });
    }
    executor.run_loaded(latch)?;
    run.result()
}

/// Returns a key of 40 bytes, as the targets define it.
pub fn object_key(number: u64) -> String {
    format!("objects/{number:032}")
}

/// Returns the body of object `number`, which begins with its number, so that a reader can
/// distinguish objects.
pub fn object_body(number: u64, length: usize) -> Vec<u8> {
    let mut body: Vec<u8> = (0..length).map(|index| (index as u64 * 131 + number) as u8).collect();
    let head = length.min(8);
    body[..head].copy_from_slice(&number.to_le_bytes()[..head]);
    body
}

/// Returns the bucket of this name, which is created if it is missing.
pub async fn ensure_bucket(core: &Core, name: &str) -> EngineResult<BucketId> {
    match core.create_bucket(name, "bench", Vec::new()).await? {
        BucketCreated::New(bucket) | BucketCreated::Exists(bucket) => Ok(bucket.id),
    }
}

/// Stores `body` as one object, which is durable when the future completes.
pub async fn put_object(core: &Core, bucket: BucketId, key: &str, body: &[u8]) -> EngineResult<()> {
    let mut writer = core.put(bucket, key.as_bytes(), body.len() as u64).await?;
    writer.write(body).await?;
    writer.commit(ObjectMeta::default(), WriteCondition::default()).await?;
    Ok(())
}

/// Reads object `number` to its end, and returns its length.
pub async fn get_object(core: &Core, bucket: BucketId, number: u64) -> Result<u64, LoadError> {
    let key = object_key(number);
    let wrong = |what: String| LoadError::WrongBytes { key: key.clone(), what };
    let mut reader = core.get(bucket, key.as_bytes()).await?.ok_or_else(|| wrong("it is missing".into()))?;
    let mut length = 0u64;
    while let Some(chunk) = reader.next().await? {
        let bytes = chunk.as_ref();
        if length == 0 && bytes.get(..8) != Some(&number.to_le_bytes()[..]) {
            return Err(wrong("it begins with another object's bytes".into()));
        }
        length += bytes.len() as u64;
    }
    if length != reader.info().size_bytes {
        return Err(wrong(format!("{length} bytes came of {}", reader.info().size_bytes)));
    }
    Ok(length)
}

/// Stores objects `0..count` of `length` bytes with `depth` in flight, and returns the time in
/// seconds.
pub fn store_objects(
    executor: &Executor,
    core: &Core,
    bucket: BucketId,
    count: u64,
    length: usize,
    depth: usize,
) -> Result<f64, LoadError> {
    let started = Instant::now();
    let next = Rc::new(Cell::new(0u64));
    let failure: Rc<RefCell<Option<LoadError>>> = Rc::default();
    let latch = Latch::new(depth);
    for _ in 0..depth {
        let (core, next, failure, latch) = (core.clone(), next.clone(), failure.clone(), latch.clone());
        executor.spawn(async move {
            while next.get() < count && failure.borrow().is_none() {
                let number = next.replace(next.get() + 1);
                let body = object_body(number, length);
                if let Err(error) = put_object(&core, bucket, &object_key(number), &body).await {
                    failure.borrow_mut().get_or_insert(error.into());
                }
            }
            latch.count_down();
        });
    }
    executor.run(latch)?;
    match failure.take() {
        Some(error) => Err(error),
        None => Ok(started.elapsed().as_secs_f64()),
    }
}
