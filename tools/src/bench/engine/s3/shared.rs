//! What the tasks of one engine share: one thread, one runtime.

use super::endpoint::Endpoint;
use super::failure::Failure;
use super::line::{Control, Line};
use super::sign::Signer;
use crate::bench::engine::failures::Failures;
use crate::bench::engine::objects::ObjectSet;
use crate::bench::engine::slots::{Bell, Slots};
use crate::bench::engine::{Clock, EngineError};
use crate::bench::spec::{Direction, HttpMode, Job};
use crate::s3::sign::Credentials;
use std::cell::{Cell, RefCell};

/// S3 names of buckets, bytes.
const BUCKET_BYTES: std::ops::RangeInclusive<usize> = 3..=63;

/// Of a slot's connection.
#[derive(Default)]
pub struct Watch {
    pub control: Control,
    /// Begin of what is in flight, on the run's clock.
    pub busy_since_ns: Cell<Option<u64>>,
    /// It was given up, not closed by the server.
    pub given_up: Cell<bool>,
}

/// See the module.
pub struct Shared {
    pub endpoint: Endpoint,
    pub clock: Clock,
    pub signer: RefCell<Signer>,
    pub objects: ObjectSet,
    pub region: String,
    pub part_bytes: u64,
    /// `/bucket`
    bucket_path: String,
    pub slots: Slots,
    /// By slot.
    pub watches: Vec<Watch>,
    pub failures: RefCell<Failures>,
    /// Whether the thread turns round instead of sleeping, and the task that makes it.
    pub spinning: Cell<bool>,
    pub spinner: Bell,
    /// Of the slots' tasks, and the time between turns of the loop without one.
    pub polls: Cell<u64>,
    pub idle_ns: Cell<u64>,
}

impl Shared {
    /// # Errors
    /// When the job asks for what there is not, or its host has no address.
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
        if wanted.part_bytes == 0 || parts > crate::s3::limits::PARTS_MAX {
            return Err(refuse(format!(
                "part_size={} would take {parts} parts; S3 takes 10,000",
                wanted.part_bytes
            )));
        }
        Ok(Self {
            endpoint: Endpoint::of(wanted).map_err(refuse)?,
            clock,
            signer: RefCell::new(Signer::new(credentials, wanted.host.clone())),
            slots: Slots::new(job.depth),
            watches: (0..job.depth.max(1)).map(|_| Watch::default()).collect(),
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

    /// A line to the server, not yet connected.
    pub fn line(&self, control: Control) -> Line {
        Line::new(self.endpoint.clone(), control)
    }

    /// A failure that belongs to no operation of the job.
    pub fn at_server(&self, failure: &Failure) -> EngineError {
        let hint = if matches!(failure, Failure::Io(_)) { "; is a server listening there?" } else { "" };
        EngineError(format!("{}: {failure}{hint}", self.endpoint.address))
    }

    pub fn bucket_path(&self) -> &[u8] {
        self.bucket_path.as_bytes()
    }

    /// Sets the line's next path to an object's.
    pub fn name(&self, line: &mut Line, direction: Direction, number: u64) {
        self.name_bucket(line);
        line.pieces.path.push(b'/');
        self.objects.push_key(direction, number, &mut line.pieces.path);
    }

    pub fn name_bucket(&self, line: &mut Line) {
        line.pieces.clear();
        line.pieces.path.extend_from_slice(self.bucket_path.as_bytes());
    }

    /// Hands over the end of what `slot` did.
    pub fn complete(&self, slot: u32, outcome: Result<u64, Failure>, buffer: Box<[u8]>) {
        let watch = &self.watches[slot as usize];
        watch.busy_since_ns.set(None);
        let outcome = if watch.given_up.take() {
            outcome.map_err(|_| Failure::TimedOut(super::ANSWER_LIMIT.as_secs()))
        } else {
            outcome
        };
        let result = match outcome {
            Ok(bytes) => bytes as i64,
            Err(failure) => {
                self.failures.borrow_mut().count(failure.kind(), || failure.to_string());
                -i64::from(failure.errno())
            }
        };
        self.slots.complete(slot, result, buffer);
    }
}
