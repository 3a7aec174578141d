//! This module holds what all clients of one life share, and watches their operations.
//!
//! Invariant: every operation is in the model's table of running ones from its begin to its end, so
//! that one that never ends is detected. The meaning of an error is decided in one place.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ringbolt_engine::EngineError;
use ringbolt_engine::env::Environment;
use ringbolt_engine::node::Core;
use ringbolt_engine::sim::{SimNode, Simulator};
use ringbolt_engine::types::{BucketId, UploadId};

use super::client::name_of;
use super::faults::LifeFaults;
use super::locks::Locks;
use super::model::{Model, Running, Value};
use super::plan::Plan;
use super::report::Report;
use super::uploads::Upload;

/// This is the longest time that an operation may take in virtual microseconds, far beyond every
/// wait of the engine.
const OPERATION_US_MAX: u64 = 120_000_000;

/// Holds what outlives a node.
pub struct Shared {
    pub sim: Simulator,
    pub plan: Plan,
    /// This is the number of the current life.
    pub round: Cell<u64>,
    /// Holds the numbers of the operations that clients began.
    pub operations: RefCell<Vec<u64>>,
    pub model: RefCell<Model>,
    pub locks: Rc<Locks>,
    pub report: RefCell<Report>,
    /// Tells clients to end after their current operation.
    pub stopping: Cell<bool>,
    pub clients_left: Cell<u64>,
    /// Says that the wall clock does not show the age of anything.
    pub clock_jumped: Cell<bool>,
    next_tag: Cell<u64>,
    trace: RefCell<Option<Vec<String>>>,
}

/// Says what an error leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was stored.
    Refused,
    /// The change may have happened, or may still.
    Unknown,
}

/// This is one life of the node, as its clients see it.
#[derive(Clone)]
pub struct Context {
    pub shared: Rc<Shared>,
    pub node: Rc<SimNode>,
    pub life: Life,
}

/// Says what may happen in one life.
#[derive(Clone, Copy, Debug, Default)]
pub struct Life {
    pub faults: LifeFaults,
    /// Says that the cap on the index is so small that it is reached.
    pub index_is_tight: bool,
    /// This is the age after which the node ends uploads.
    pub upload_age_ms: Option<u64>,
}

impl Shared {
    pub fn new(sim: Simulator, plan: &Plan, with_trace: bool) -> Rc<Self> {
        Rc::new(Self {
            locks: Rc::new(Locks::new(sim.clone())),
            sim,
            plan: plan.clone(),
            round: Cell::new(0),
            operations: RefCell::default(),
            model: RefCell::default(),
            report: RefCell::default(),
            stopping: Cell::new(false),
            clients_left: Cell::new(0),
            clock_jumped: Cell::new(false),
            next_tag: Cell::new(1),
            trace: RefCell::new(with_trace.then(Vec::new)),
        })
    }

    /// Steps the wall clock.
    pub fn step_clock(&self, by_ms: i64) {
        self.locks.step(by_ms);
        self.clock_jumped.set(true);
        self.report.borrow_mut().clock_jumps_back += u64::from(by_ms < 0);
        self.note(|| format!("the wall clock steps by {by_ms} ms"));
    }

    pub fn new_tag(&self) -> u64 {
        self.next_tag.replace(self.next_tag.get() + 1)
    }

    /// Adds a line to the trace, if there is one.
    pub fn note(&self, line: impl FnOnce() -> String) {
        if let Some(trace) = self.trace.borrow_mut().as_mut() {
            trace.push(format!("{:>12} {}", self.sim.now_us(), line()));
        }
    }

    pub fn take_trace(&self) -> Vec<String> {
        self.trace.borrow_mut().take().unwrap_or_default()
    }

    /// Checks that no operation hangs.
    ///
    /// # Panics
    /// Panics when an operation takes too long.
    pub fn check_for_hangs(&self) {
        let now = self.sim.now_us();
        for running in self.model.borrow().running.values() {
            let since = now - running.since_us;
            assert!(since < OPERATION_US_MAX, "hang: {} has not ended after {since} us", running.what);
        }
    }

    /// Checks that no operation is left.
    ///
    /// # Panics
    /// Panics when an operation is in progress although nothing is left that could end it.
    pub fn check_for_deadlock(&self) {
        let running = &self.model.borrow().running;
        assert!(running.is_empty(), "deadlock: nothing can end {running:?}");
    }
}

impl Context {
    pub fn core(&self) -> Core {
        self.node.any_core()
    }

    /// Returns whether an upload is so old that the node may end it.
    pub fn aged(&self, upload: &Upload) -> bool {
        let (jumped, now_ms) = (self.shared.clock_jumped.get(), self.shared.sim.wall_clock_ms());
        self.life.upload_age_ms.is_some_and(|age_ms| jumped || upload.begun_ms + age_ms < now_ms)
    }

    pub fn may_have_aged(&self, id: UploadId) -> bool {
        self.aged(self.shared.model.borrow_mut().uploads.get(id))
    }

    /// Waits for an operation, and returns the tick of its begin with its result.
    pub async fn watched<T>(
        &self,
        kind: &'static str,
        what: impl FnOnce() -> String,
        operation: impl Future<Output = Result<T, EngineError>>,
    ) -> (u64, Result<T, EngineError>) {
        let since_us = self.shared.sim.now_us();
        let what = format!("{kind} {}", what());
        self.shared.note(|| format!("begin {what}"));
        let tick = {
            let mut model = self.shared.model.borrow_mut();
            let tick = model.tick();
            model.running.insert(tick, Running { since_us, what: what.clone() });
            tick
        };
        let done = Ends { shared: &self.shared, tick };
        let result = operation.await;
        drop(done);
        self.shared.report.borrow_mut().count(kind);
        self.shared.note(|| match &result {
            Ok(_) => format!("done  {what}"),
            Err(error) => format!("error {what}: {error}"),
        });
        (tick, result)
    }

    /// Returns what `error` means for a call about a bucket; `place` is the bucket and the tick at
    /// which the call began.
    ///
    /// # Panics
    /// Panics when nothing that happened in this life explains the error.
    pub fn judge(&self, what: &str, place: Option<(BucketId, u64)>, error: &EngineError) -> Outcome {
        let faults = &self.life.faults;
        let mut report = self.shared.report.borrow_mut();
        let (counter, tolerated, outcome) = match error {
            EngineError::NoSuchBucket => {
                let missed =
                    |(bucket, from)| self.shared.model.borrow_mut().bucket(bucket).may_be_missed(from);
                (&mut report.refused_bucket, place.is_some_and(missed), Outcome::Refused)
            }
            EngineError::NoSpace { .. } => (&mut report.refused_full, true, Outcome::Refused),
            EngineError::Busy { .. } => (&mut report.refused_busy, true, Outcome::Refused),
            EngineError::IndexFull { .. } => {
                (&mut report.refused_index, self.life.index_is_tight, Outcome::Refused)
            }
            EngineError::WritesStopped { .. } => {
                (&mut report.refused_stopped, faults.writes_stop, Outcome::Unknown)
            }
            EngineError::ReadFailed { .. } => (&mut report.failed_reads, faults.reads_fail, Outcome::Refused),
            EngineError::Damaged { .. } => (&mut report.damage_reported, faults.damage, Outcome::Refused),
            other => panic!("{what}: {other}"),
        };
        assert!(tolerated, "{what}: {error}, and nothing explains it");
        *counter += 1;
        outcome
    }

    /// Records the result of a change of a key in the model; `begun` and `from` are the ticks of
    /// its begin in the model and on the node.
    pub fn tell<T>(
        &self,
        what: &str,
        (bucket, key): (BucketId, &[u8]),
        (begun, from): (u64, u64),
        result: &Result<T, EngineError>,
    ) {
        let place = Some((bucket, from));
        let outcome = result.as_ref().err().map(|error| self.judge(what, place, error));
        let mut model = self.shared.model.borrow_mut();
        let gone = outcome.is_none() && model.bucket(bucket).was_gone(from);
        assert!(!gone, "{what} {}: the bucket was gone before", name_of(bucket, key));
        match outcome {
            None => model.acknowledge(bucket, key, begun),
            Some(Outcome::Refused) => model.refuse(bucket, key, begun),
            Some(Outcome::Unknown) => {}
        }
    }

    /// Records that an operation saw `value`.
    ///
    /// # Panics
    /// Panics when an operation that began at `from` cannot see `value`.
    pub fn see(&self, what: &str, bucket: BucketId, key: &[u8], from: u64, value: Value) {
        let mut model = self.shared.model.borrow_mut();
        let name = name_of(bucket, key);
        assert!(!model.bucket(bucket).was_gone(from), "{what}: the bucket of {name} was gone before");
        if let Some(possible) = model.see(bucket, key, from, value) {
            panic!("{what}: {name} is {value:?}, possible is {possible}");
        }
    }
}

/// Removes an operation from the table when dropped, also when it is abandoned.
struct Ends<'a> {
    shared: &'a Shared,
    tick: u64,
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        // If there is a panic elsewhere, the model may be borrowed.
        if let Ok(mut model) = self.shared.model.try_borrow_mut() {
            model.running.remove(&self.tick);
        }
    }
}
