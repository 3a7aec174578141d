//! This module runs operations on the storage engine in this process, without HTTP: one node of one
//! core on the job's own thread.
//!
//! A read returns a whole object, which the engine verifies; a write stores an object, which is
//! durable when the write completes; a trim deletes an object. There is no ETag (it is MD5, and
//! part of S3) and no read cache: the drives are what is measured.

mod drives;

use self::drives::Drives;
use super::failures::{FailedOperation, Failures};
use super::objects::ObjectSet;
use super::slots::{Desk, Slots};
use super::{Account, Clock, Completion, EngineError, IoEngine, Operation, Verb};
use crate::spec::{Direction, Job, ObjectOp};
use ringbolt_engine::EngineError as Refusal;
use ringbolt_engine::node::{Core, NodeOptions, NodePlan};
use ringbolt_engine::types::{BucketCreated, BucketId, ListQuery, ObjectMeta, WriteCondition};
use ringbolt_tool_common::executor::{Executor, Latch};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

const BUCKET: &str = "bench";
const OWNER: &str = "bench";
/// New drives have room for one and a half times the job's objects, and for the logs of their shards.
const SPARE_BYTES: u64 = 512 << 20;
const ARENA_BYTES_MIN: usize = 64 << 20;
const INDEX_BYTES_MAX: usize = 4 << 30;
/// The rings lock this much memory besides the buffers.
const RING_LOCKED_BYTES: u64 = 8 << 20;
const KEYS_OF_A_LIST: usize = 1000;
/// If the deadline is farther away than this, the thread waits in the ring. This saves a system
/// call, but the wait may end late by one operation of the drive.
const FAR_NS: u64 = 50_000_000;
/// The executor's timers have a resolution of a millisecond, so the thread polls for deadlines
/// nearer than this.
const NEAR_NS: u64 = 2_000_000;

/// Stores, reads and deletes objects by the storage engine.
pub struct RingboltEngine {
    drives: Drives,
    objects: ObjectSet,
    clock: Clock,
    slots: Rc<Slots>,
    desk: Desk,
    failures: Rc<RefCell<Failures>>,
    executor: Executor,
    core: Option<Core>,
    notes: Vec<String>,
}

impl RingboltEngine {
    /// Creates the engine of a job.
    ///
    /// # Errors
    /// Fails when the job asks for something that this engine does not support.
    pub fn new(job: &Job, clock: Clock, allow_overwrite: bool) -> Result<Self, EngineError> {
        let refuse = |what: String| Err(EngineError(format!("job {}: {what}", job.name)));
        if job.threads > 1 {
            return refuse(format!(
                "numjobs={} with ioengine=ringbolt: drives are opened by one core here; use numjobs=1 and a larger \
                 iodepth, or ioengine=s3 against a server with more cores",
                job.threads
            ));
        }
        if job.files.is_empty() {
            return refuse(
                "ioengine=ringbolt needs its drive as filename=; several are separated by colons".into(),
            );
        }
        let foreign = |(op, _): &&(ObjectOp, u32)| matches!(op, ObjectOp::Copy | ObjectOp::Multipart);
        if let Some((op, _)) = job.objects.ops.iter().flatten().find(foreign) {
            return refuse(format!("op={op:?} is an operation of S3: use ioengine=s3").to_lowercase());
        }
        let objects = ObjectSet::of(job)?;
        let slots = Rc::new(Slots::new(job.depth));
        let executor = Executor::new().map_err(|error| EngineError(format!("no event queue: {error}")))?;
        Ok(Self {
            drives: Drives::of(job, allow_overwrite),
            desk: Desk::new(&slots, objects.largest_bytes),
            objects,
            clock,
            slots,
            failures: Rc::default(),
            executor,
            core: None,
            notes: Vec::new(),
        })
    }

    fn error(&self, what: impl std::fmt::Display) -> EngineError {
        self.drives.error(what)
    }

    fn open(&mut self) -> Result<Core, EngineError> {
        let in_flight = self.slots.count() as usize * self.objects.largest_bytes as usize;
        let arena_bytes = (2 * in_flight + (32 << 20)).next_multiple_of(2 << 20).max(ARENA_BYTES_MIN);
        let register_buffers = may_lock(arena_bytes as u64);
        if !register_buffers {
            self.notes.push(format!(
                "RLIMIT_MEMLOCK is below {arena_bytes} bytes: buffers are not registered, which costs CPU"
            ));
        }
        let seeds = NodePlan::open(NodeOptions {
            drives: self.drives.paths.clone(),
            without_drives: Vec::new(),
            cores: 1,
            arena_bytes_per_core: arena_bytes,
            index_bytes_max: INDEX_BYTES_MAX,
            read_cache_bytes_per_core: 0,
            register_buffers,
            clock_step_max_ms: ringbolt_engine::types::rules::DAY_MS,
        });
        let seed = seeds.map_err(|error| self.error(error))?.into_iter().next();
        let seed = seed.ok_or_else(|| self.error("the node has no core"))?;
        let core = seed.start(self.executor.environment()).map_err(|error| self.error(error))?;
        self.executor.attach(core.driver()).map_err(|error| self.error(error))?;
        let opened = self.executor.run(core.open()).map_err(|error| self.error(error))?;
        opened.map_err(|error| self.error(error))?;
        Ok(core)
    }

    /// Stores the objects that reads need and that are missing or have another size.
    fn store(&self, core: &Core, bucket: BucketId, progress: &mut dyn FnMut(f64)) -> Result<(), EngineError> {
        let workers = self.slots.count() as usize;
        let work = Rc::new(Storing {
            next: Cell::new(0),
            failed: RefCell::default(),
            objects: self.objects.clone(),
            stop: self.drives.stop.clone(),
        });
        while work.next.get() < work.objects.count && work.failed.borrow().is_none() {
            if work.stop.load(Ordering::Relaxed) {
                return Err(self.error("stopped before all objects were stored"));
            }
            let latch = Latch::new(workers);
            for _ in 0..workers {
                let (core, latch, work) = (core.clone(), latch.clone(), work.clone());
                self.executor.spawn(async move {
                    work.some(&core, bucket).await;
                    latch.count_down();
                });
            }
            self.executor.run(latch).map_err(|error| self.error(error))?;
            progress(work.next.get() as f64 / work.objects.count as f64);
        }
        match work.failed.take() {
            Some(error) => Err(self.error(error)),
            None => Ok(()),
        }
    }

    fn start_tasks(&self, core: &Core, bucket: BucketId) {
        for slot in 0..self.slots.count() {
            let task = Task { core: core.clone(), bucket, objects: self.objects.clone() };
            let (slots, failures) = (self.slots.clone(), self.failures.clone());
            slots.tasks.set(slots.tasks.get() + 1);
            self.executor.spawn(async move {
                while let Some((operation, mut buffer)) = slots.next(slot).await {
                    let result = match task.carry_out(&operation, &mut buffer).await {
                        Ok(bytes) => bytes as i64,
                        Err(failed) => {
                            failures.borrow_mut().count(task.told(&operation, &failed));
                            -i64::from(errno_of(&failed))
                        }
                    };
                    slots.complete(slot, result, buffer);
                }
                slots.end_task();
            });
        }
    }
}

fn may_lock(arena_bytes: u64) -> bool {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
    limit.is_none_or(|limit| limit >= arena_bytes + RING_LOCKED_BYTES)
}

/// Tracks the objects that are stored before the clock starts.
struct Storing {
    next: Cell<u64>,
    failed: RefCell<Option<Refusal>>,
    objects: ObjectSet,
    stop: Arc<AtomicBool>,
}

impl Storing {
    /// Stores some objects, so that progress can be reported in between.
    async fn some(&self, core: &Core, bucket: BucketId) {
        for _ in 0..64 {
            let number = self.next.get();
            let stopped = self.stop.load(Ordering::Relaxed);
            if stopped || number >= self.objects.count || self.failed.borrow().is_some() {
                return;
            }
            self.next.set(number + 1);
            if let Err(refusal) = self.one(core, bucket, number).await {
                self.failed.replace(Some(refusal));
            }
        }
    }

    async fn one(&self, core: &Core, bucket: BucketId, number: u64) -> Result<(), Refusal> {
        let key = self.objects.key(Direction::Read, number);
        let size_bytes = self.objects.size_bytes(Direction::Read, number);
        if core.head(bucket, &key).await?.is_some_and(|info| info.size_bytes == size_bytes) {
            return Ok(());
        }
        let mut body = vec![0; size_bytes as usize];
        ObjectSet::fill(number, &mut body);
        self.objects.stamp(Direction::Read, number, 0, &mut body);
        put(core, bucket, &key, &body).await
    }
}

async fn put(core: &Core, bucket: BucketId, key: &[u8], body: &[u8]) -> Result<(), Refusal> {
    let mut writer = core.put(bucket, key, body.len() as u64).await?;
    writer.write(body).await?;
    writer.commit(ObjectMeta::default(), WriteCondition::default()).await?;
    Ok(())
}

/// Holds what the task of a slot needs.
struct Task {
    core: Core,
    bucket: BucketId,
    objects: ObjectSet,
}

impl Task {
    /// Describes a failed operation for the report.
    fn told(&self, operation: &Operation, failed: &Failed) -> FailedOperation {
        let of = match operation.verb {
            Verb::Write | Verb::ReadBack => Direction::Write,
            Verb::Trim => Direction::Trim,
            _ => Direction::Read,
        };
        let text = failed.to_string();
        FailedOperation {
            operation: operation.verb.name().to_owned(),
            path: String::from_utf8_lossy(&self.objects.key(of, operation.number)).into_owned(),
            errno: errno_of(failed),
            kind: text.clone(),
            text,
            ..FailedOperation::default()
        }
    }

    async fn carry_out(&self, operation: &Operation, buffer: &mut [u8]) -> Result<u64, Failed> {
        let Operation { number, length, .. } = *operation;
        match operation.verb {
            Verb::Read => self.get(Direction::Read, operation, buffer).await,
            Verb::ReadBack => self.get(Direction::Write, operation, buffer).await,
            Verb::Write => {
                let key = self.objects.key(Direction::Write, number);
                put(&self.core, self.bucket, &key, &buffer[..length as usize]).await?;
                Ok(length)
            }
            Verb::Trim => {
                let key = self.objects.key(Direction::Trim, number);
                self.core.delete(self.bucket, &key, WriteCondition::default()).await?;
                Ok(length)
            }
            Verb::Head => {
                let key = self.objects.key(Direction::Read, number);
                self.core.head(self.bucket, &key).await?.ok_or(Refusal::NoSuchKey)?;
                Ok(0)
            }
            Verb::List => {
                let mut prefix = Vec::new();
                self.objects.push_page_prefix(number, &mut prefix);
                let query = ListQuery { prefix, max_items: KEYS_OF_A_LIST, ..ListQuery::default() };
                let page = self.core.list(self.bucket, &query).await?;
                Ok(page.items.iter().map(|item| item.name().len() as u64).sum())
            }
            // Every write was durable when it completed.
            Verb::Sync | Verb::DataSync => Ok(0),
            Verb::Copy | Verb::Multipart => unreachable!("refused when the engine was made"),
        }
    }

    async fn get(&self, of: Direction, operation: &Operation, buffer: &mut [u8]) -> Result<u64, Failed> {
        let Operation { verb, offset, length, number, .. } = *operation;
        let key = self.objects.key(of, number);
        let mut reader = self.core.get(self.bucket, &key).await?.ok_or(Refusal::NoSuchKey)?;
        let (bytes, expected) = (reader.info().size_bytes, self.objects.size_bytes(of, number));
        if bytes != expected {
            return Err(Failed::OtherLength { bytes, expected });
        }
        let is_part = verb == Verb::Read && self.objects.range_bytes.is_some() && length < expected;
        let expected = if is_part { length } else { expected };
        if is_part {
            reader.set_range(offset, length);
        }
        let mut length = 0;
        while let Some(chunk) = reader.next().await? {
            let bytes = chunk.as_ref();
            let room = bytes.len().min(buffer.len() - length.min(buffer.len()));
            buffer[length..length + room].copy_from_slice(&bytes[..room]);
            length += bytes.len();
        }
        if length as u64 != expected {
            return Err(Failed::OtherLength { bytes: length as u64, expected });
        }
        Ok(expected)
    }
}

/// Says why an operation failed.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("{bytes} bytes are stored, {expected} are to be there")]
    OtherLength { bytes: u64, expected: u64 },
}

/// Returns the errno of Linux for a failure.
fn errno_of(failed: &Failed) -> i32 {
    use rustix::io::Errno;
    let Failed::Refused(refusal) = failed else { return Errno::PROTO.raw_os_error() };
    let errno = match refusal {
        Refusal::NoSuchKey | Refusal::NoSuchBucket | Refusal::NoSuchUpload => Errno::NOENT,
        Refusal::NoSpace { .. } => Errno::NOSPC,
        Refusal::IndexFull { .. } => Errno::NOMEM,
        Refusal::Busy { .. } | Refusal::ShuttingDown => Errno::BUSY,
        Refusal::Damaged { .. } | Refusal::ReadFailed { .. } | Refusal::WritesStopped { .. } => Errno::IO,
        _ => Errno::INVAL,
    };
    errno.raw_os_error()
}

/// Waits for the completions or the deadline of one call of `reap`.
struct Wait<'a> {
    slots: &'a Slots,
    clock: Clock,
    at_least: usize,
    deadline_ns: Option<u64>,
    environment: Rc<dyn ringbolt_engine::node::Environment>,
    sleep: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.slots.main.remember(context);
        // The executor polls this future after the tasks, so all submitted operations have begun.
        let waits_for_time = self.at_least == 0 && self.deadline_ns.is_some();
        if !waits_for_time && self.slots.done() >= self.at_least {
            return Poll::Ready(());
        }
        let left = self.deadline_ns.map(|deadline| deadline.saturating_sub(self.clock.now_ns()));
        match left {
            Some(0) => return Poll::Ready(()),
            Some(left) if left > NEAR_NS => {
                let milliseconds = (left - NEAR_NS / 2) / 1_000_000;
                let environment = self.environment.clone();
                let sleep = self.sleep.get_or_insert_with(|| environment.sleep(milliseconds));
                if sleep.as_mut().poll(context).is_ready() {
                    self.sleep = None;
                    context.waker().wake_by_ref();
                }
            }
            None => {}
            Some(_) => context.waker().wake_by_ref(),
        }
        Poll::Pending
    }
}

impl IoEngine for RingboltEngine {
    fn prepare(&mut self, progress: &mut dyn FnMut(f64)) -> Result<(), EngineError> {
        let wanted_bytes = self.objects.count * (self.objects.largest_bytes + 512) * 3 / 2 + SPARE_BYTES;
        self.drives.ensure(wanted_bytes, &mut |share| progress(share / 2.0))?;
        let core = self.open()?;
        let created = self.executor.run(core.create_bucket(BUCKET, OWNER, Vec::new()));
        let created = created.map_err(|error| self.error(error))?.map_err(|error| self.error(error))?;
        let (BucketCreated::New(bucket) | BucketCreated::Exists(bucket)) = created;
        if self.objects.needs_objects {
            self.store(&core, bucket.id, &mut |share| progress(0.5 + share / 2.0))?;
        }
        self.start_tasks(&core, bucket.id);
        self.core = Some(core);
        progress(1.0);
        Ok(())
    }

    fn heed(&mut self, stop: &Arc<AtomicBool>) {
        self.drives.stop = stop.clone();
    }

    fn buffer(&mut self, slot: u32) -> &mut [u8] {
        self.desk.buffer(slot)
    }

    fn submit(&mut self, slot: u32, operation: &Operation) {
        self.desk.submit(&self.slots, slot, operation);
    }

    fn reap(
        &mut self,
        at_least: usize,
        deadline_ns: Option<u64>,
        done: &mut Vec<Completion>,
    ) -> Result<(), EngineError> {
        self.desk.ring(&self.slots);
        let possible = self.slots.in_flight() + self.slots.done();
        let at_least = at_least.min(possible);
        let far = deadline_ns.is_none_or(|deadline| deadline > self.clock.now_ns() + FAR_NS);
        let wait = Wait {
            slots: &self.slots,
            clock: self.clock,
            at_least,
            // While the thread waits in the ring, only a completion wakes it.
            deadline_ns: if far && at_least > 0 { None } else { deadline_ns },
            environment: self.executor.environment(),
            sleep: None,
        };
        let waited =
            if far && at_least > 0 { self.executor.run_loaded(wait) } else { self.executor.run(wait) };
        waited.map_err(|error| self.error(error))?;
        self.desk.collect(&self.slots, done);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), EngineError> {
        let Some(core) = self.core.take() else { return Ok(()) };
        self.slots.leave();
        let slots = self.slots.clone();
        let ended = std::future::poll_fn(|context| {
            slots.main.remember(context);
            if slots.tasks.get() == 0 { Poll::Ready(()) } else { Poll::Pending }
        });
        self.executor.run(ended).map_err(|error| self.error(error))?;
        let closed = self.executor.run(core.close()).map_err(|error| self.error(error))?;
        closed.map_err(|error| self.error(error))?;
        self.drives.remove()
    }

    fn notes(&self) -> Vec<String> {
        self.notes.iter().cloned().chain(self.failures.borrow().lines()).collect()
    }

    fn account(&self) -> Account {
        Account { failures: Some(self.failures.borrow().clone()), ..Account::default() }
    }
}

#[cfg(test)]
mod tests;
