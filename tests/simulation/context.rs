//! What all clients of one life share, and how an operation is watched.
//!
//! Invariant: every operation is in the model's table of running ones from its begin to its end, so that one that never
//! ends is seen, and what an error may mean is decided in one place.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ringbolt_engine::EngineError;
use ringbolt_engine::node::Core;
use ringbolt_engine::sim::{Random, SimNode, Simulator};
use ringbolt_engine::types::BucketId;

use super::model::{Model, Running, Value};
use super::plan::LifeFaults;
use super::report::Report;

/// Longest that an operation may take, virtual microseconds: far beyond every wait that the engine allows itself.
const OPERATION_US_MAX: u64 = 120_000_000;

/// What outlives a node.
pub struct Shared {
    pub sim: Simulator,
    pub model: RefCell<Model>,
    pub report: RefCell<Report>,
    /// Clients end after the operation they are at.
    pub stopping: Cell<bool>,
    pub clients_left: Cell<u64>,
    next_tag: Cell<u64>,
    trace: RefCell<Option<Vec<String>>>,
}

/// What an error leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was stored.
    Refused,
    /// It may have happened, or may still.
    Unknown,
}

/// One life of the node, as its clients see it.
#[derive(Clone)]
pub struct Context {
    pub shared: Rc<Shared>,
    pub node: Rc<SimNode>,
    pub faults: LifeFaults,
}

impl Shared {
    pub fn new(sim: Simulator, with_trace: bool) -> Rc<Self> {
        Rc::new(Self {
            sim,
            model: RefCell::default(),
            report: RefCell::default(),
            stopping: Cell::new(false),
            clients_left: Cell::new(0),
            next_tag: Cell::new(1),
            trace: RefCell::new(with_trace.then(Vec::new)),
        })
    }

    pub fn random(&self) -> &Random {
        self.sim.random()
    }

    pub fn new_tag(&self) -> u64 {
        self.next_tag.replace(self.next_tag.get() + 1)
    }

    /// A line of the trace, if one is kept.
    pub fn note(&self, line: impl FnOnce() -> String) {
        if let Some(trace) = self.trace.borrow_mut().as_mut() {
            trace.push(format!("{:>12} {}", self.sim.now_us(), line()));
        }
    }

    pub fn take_trace(&self) -> Vec<String> {
        self.trace.borrow_mut().take().unwrap_or_default()
    }

    /// # Panics
    /// When an operation is under way for too long.
    pub fn check_for_hangs(&self) {
        let now = self.sim.now_us();
        for running in self.model.borrow().running.values() {
            let since = now - running.since_us;
            assert!(since < OPERATION_US_MAX, "hang: {} has not ended after {since} us", running.what);
        }
    }

    /// # Panics
    /// When something is under way although nothing is left that could end it.
    pub fn check_for_deadlock(&self) {
        let running = &self.model.borrow().running;
        assert!(running.is_empty(), "deadlock: nothing can end {running:?}");
    }
}

impl Context {
    pub fn core(&self) -> Core {
        self.node.any_core()
    }

    pub fn random(&self) -> &Random {
        self.shared.random()
    }

    pub fn bucket_id(&self, bucket: &str) -> BucketId {
        let model = self.shared.model.borrow();
        let known = model.buckets.get(bucket).and_then(|bucket| bucket.id);
        known.unwrap_or_else(|| panic!("{bucket} is not in the model"))
    }

    /// Waits for an operation; gives the tick of its begin with what it gave.
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

    /// What `error` means for a change.
    ///
    /// # Panics
    /// When nothing that happened in this life explains it.
    pub fn judge(&self, what: &str, error: &EngineError) -> Outcome {
        let mut report = self.shared.report.borrow_mut();
        let (counter, tolerated, outcome) = match error {
            EngineError::NoSpace { .. } => (&mut report.refused_full, true, Outcome::Refused),
            EngineError::Busy { .. } => (&mut report.refused_busy, true, Outcome::Refused),
            EngineError::WritesStopped { .. } => {
                (&mut report.refused_stopped, self.faults.writes_stop, Outcome::Unknown)
            }
            EngineError::ReadFailed { .. } => {
                (&mut report.failed_reads, self.faults.reads_fail, Outcome::Refused)
            }
            EngineError::Damaged { .. } => {
                (&mut report.damage_reported, self.faults.damage, Outcome::Refused)
            }
            other => panic!("{what}: {other}"),
        };
        assert!(tolerated, "{what}: {error}, and no fault explains it");
        *counter += 1;
        outcome
    }

    /// A change of a key with an unknown or a good end, told to the model.
    pub fn tell<T>(
        &self,
        what: &str,
        (bucket, key): (&str, &[u8]),
        begun: u64,
        result: &Result<T, EngineError>,
    ) {
        let outcome = result.as_ref().err().map(|error| self.judge(what, error));
        let mut model = self.shared.model.borrow_mut();
        match outcome {
            None => model.acknowledge(bucket, key, begun),
            Some(Outcome::Refused) => model.refuse(bucket, key, begun),
            Some(Outcome::Unknown) => {}
        }
    }

    /// # Panics
    /// When `value` can not be what somebody sees who began to look at `from`.
    pub fn see(&self, what: &str, bucket: &str, key: &[u8], from: u64, value: Value) {
        if let Some(possible) = self.shared.model.borrow_mut().see(bucket, key, from, value) {
            let name = String::from_utf8_lossy(key);
            panic!("{what}: {bucket}/{name} is {value:?}, possible is {possible}");
        }
    }
}

/// Takes an operation off the table, also when it is given up.
struct Ends<'a> {
    shared: &'a Shared,
    tick: u64,
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        // A panic elsewhere may hold the model.
        if let Ok(mut model) = self.shared.model.try_borrow_mut() {
            model.running.remove(&self.tick);
        }
    }
}
