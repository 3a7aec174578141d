//! This module holds what the tasks of one engine share: one thread, one runtime.

use super::endpoint::Endpoint;
use super::failure::Failure;
use super::line::{Control, Ending, Line};
use super::sign::Signer;
use super::waiting;
use crate::engine::failures::Failures;
use crate::engine::objects::ObjectSet;
use crate::engine::slots::{Bell, Slots};
use crate::engine::{Clock, EngineError};
use crate::spec::{ClientWait, Direction, HttpMode, Job};
use ringbolt_tool_common::s3::sign::Credentials;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Names of buckets in S3 have this many bytes.
const BUCKET_BYTES: std::ops::RangeInclusive<usize> = 3..=63;

/// Watches a slot's connection.
#[derive(Default)]
pub struct Watch {
    pub control: Rc<Control>,
    /// This is the time when the operation in flight began, on the run's clock; `None` when the
    /// slot is idle.
    pub busy_since_ns: Cell<Option<u64>>,
}

impl Watch {
    /// Begins an operation.
    pub fn begin(&self, now_ns: u64) {
        self.control.begin();
        self.busy_since_ns.set(Some(now_ns));
    }
}

/// Holds what the tasks of one engine share.
pub struct Shared {
    pub endpoint: Endpoint,
    pub clock: Clock,
    pub signer: RefCell<Signer>,
    pub objects: ObjectSet,
    pub region: String,
    pub part_bytes: u64,
    /// This is `/bucket`.
    bucket_path: String,
    pub slots: Slots,
    /// This is indexed by slot.
    pub watches: Vec<Watch>,
    pub timeout: Duration,
    /// This is never `Auto`.
    pub client_wait: ClientWait,
    /// This is set when the run is to end.
    pub stop: RefCell<Arc<AtomicBool>>,
    pub failures: RefCell<Failures>,
    /// Says that the thread polls instead of sleeping; `spinner` wakes the task that makes it poll.
    pub spinning: Cell<bool>,
    pub spinner: Bell,
    /// Counts the polls of the slots' tasks; `idle_ns` is the time of turns of the loop without
    /// any.
    pub polls: Cell<u64>,
    pub idle_ns: Cell<u64>,
}

impl Shared {
    /// Creates the shared state of a job's engine.
    ///
    /// # Errors
    /// Fails when the job is not valid, or when its host has no address.
    pub fn of(job: &Job, clock: Clock) -> Result<Self, EngineError> {
        let wanted = &job.objects;
        let refuse = |what: String| EngineError(format!("job {}: {what}", job.name));
        let HttpMode::S3 = wanted.mode;
        let bucket = wanted.bucket.as_str();
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
        if !BUCKET_BYTES.contains(&bucket.len()) || !bucket.bytes().all(is_plain) {
            return Err(refuse(format!(
                "bucket={bucket:?} is no bucket name: 3 to 63 of a-z, 0-9, '.' and '-'"
            )));
        }
        let objects = ObjectSet::of(job)?;
        let credentials = Credentials {
            access_key: wanted.access_key.clone(),
            secret_key: wanted.secret_key.clone(),
            region: wanted.region.clone(),
        };
        let parts = objects.largest_bytes.div_ceil(wanted.part_bytes.max(1));
        if wanted.part_bytes == 0 || parts > ringbolt_tool_common::s3::limits::PARTS_MAX {
            return Err(refuse(format!(
                "part_size={} would take {parts} parts; S3 takes 10,000",
                wanted.part_bytes
            )));
        }
        let endpoint = Endpoint::of(wanted).map_err(refuse)?;
        let client_wait = waiting::choose(wanted.client_wait, &endpoint.address, job.threads);
        Ok(Self {
            endpoint,
            client_wait,
            clock,
            signer: RefCell::new(Signer::new(credentials, wanted.host.clone())),
            slots: Slots::new(job.depth),
            watches: (0..job.depth.max(1)).map(|_| Watch::default()).collect(),
            timeout: Duration::from_nanos(wanted.timeout_ns),
            stop: RefCell::default(),
            objects,
            region: wanted.region.clone(),
            part_bytes: wanted.part_bytes,
            bucket_path: format!("/{bucket}"),
            failures: RefCell::default(),
            spinning: Cell::new(false),
            spinner: Bell::default(),
            polls: Cell::new(0),
            idle_ns: Cell::new(0),
        })
    }

    /// Returns a line to the server that is not yet connected.
    pub fn line(&self, slot: usize) -> Line {
        Line::new(self.endpoint.clone(), self.watches[slot].control.clone())
    }

    /// Returns whether the run is to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.borrow().load(Ordering::Relaxed)
    }

    /// Runs an operation without a completion on the line of `slot`.
    ///
    /// # Errors
    /// Fails when the operation fails, takes too long or is aborted.
    pub async fn watched<T>(
        &self,
        slot: usize,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        if self.is_stopped() {
            return Err(Failure::Cut);
        }
        self.watches[slot].begin(self.clock.now_ns());
        let outcome = work.await;
        self.settle(slot, outcome)
    }

    /// Ends an operation. If its connection was ended from outside, that is the reason of the
    /// failure.
    fn settle<T>(&self, slot: usize, outcome: Result<T, Failure>) -> Result<T, Failure> {
        let watch = &self.watches[slot];
        watch.busy_since_ns.set(None);
        outcome.map_err(|failure| match watch.control.ending() {
            None => failure,
            Some(Ending::TimedOut) => failure.because(Failure::TimedOut(self.timeout)),
            Some(Ending::Cut) => failure.because(Failure::Cut),
        })
    }

    /// Ends the connections whose operations take too long; their tasks then complete them.
    pub fn end_old(&self) {
        let (now, limit) = (self.clock.now_ns(), self.timeout.as_nanos() as u64);
        for watch in &self.watches {
            if watch.busy_since_ns.get().is_some_and(|since| now.saturating_sub(since) > limit) {
                watch.control.end(Ending::TimedOut);
            }
        }
    }

    /// Ends the busy connections, which aborts their operations.
    pub fn cut(&self) {
        let busy = self.watches.iter().filter(|watch| watch.busy_since_ns.get().is_some());
        busy.for_each(|watch| watch.control.end(Ending::Cut));
    }

    /// Describes a failure that belongs to no operation of the job.
    pub fn at_server(&self, failure: &Failure) -> EngineError {
        let hint =
            if matches!(failure.reason(), Failure::Io(_)) { "; is a server listening there?" } else { "" };
        EngineError(format!("{}: {failure}{hint}", self.endpoint.address))
    }

    pub fn bucket_path(&self) -> &[u8] {
        self.bucket_path.as_bytes()
    }

    /// Sets the line's next path to that of an object.
    pub fn name(&self, line: &mut Line, direction: Direction, number: u64) {
        self.name_bucket(line);
        line.pieces.path.push(b'/');
        self.objects.push_key(direction, number, &mut line.pieces.path);
    }

    /// Sets the line's next path to that of the bucket.
    pub fn name_bucket(&self, line: &mut Line) {
        line.pieces.clear();
        line.pieces.path.extend_from_slice(self.bucket_path.as_bytes());
    }

    /// Completes the operation of `slot`.
    pub fn complete(&self, slot: u32, outcome: Result<u64, Failure>, buffer: Box<[u8]>) {
        let outcome = self.settle(slot as usize, outcome);
        let result = match outcome {
            Ok(bytes) => bytes as i64,
            Err(failure) => {
                if !matches!(failure.reason(), Failure::Cut) {
                    self.failures.borrow_mut().count(failure.told());
                }
                -i64::from(failure.errno())
            }
        };
        self.slots.complete(slot, result, buffer);
    }
}
