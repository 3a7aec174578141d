//! These tests run the loop against a drive in virtual time, which observes how many operations are
//! in flight at every moment.
//!
//! Regression: `ringbolt bench` submitted all operations that had become free in one call. A drive
//! that signals several completions at once then had nothing to do until the last of them had been
//! replaced, and gave four fifths of the IOPS that it gives to a load of the same depth whose
//! operations come one by one.

use super::*;
use crate::engine::EngineError;
use crate::engine::drive::batch_of;
use crate::load::{Region, Target};
use crate::result::JobResult;
use crate::run::fill::Filler;
use crate::spec::Pattern;
use std::collections::VecDeque;

/// A drive of 100,000 IOPS needs this long for an operation.
const SERVICE_NS: u64 = 10_000;
/// The thread spends these times on an operation before it is queued, on a call, and on each
/// operation within the call.
const QUEUE_NS: u64 = 500;
const CALL_NS: u64 = 300;
const START_NS: u64 = 1_000;
const OPERATIONS: u64 = 20_000;

/// Simulates a drive that takes all operations submitted to it when it has finished those before,
/// works on one after the other, and signals the completion of all of them at the end of the last.
struct VirtualDrive {
    depth: usize,
    batch: usize,
    now_ns: u64,
    queued: Vec<u32>,
    waiting: VecDeque<u32>,
    working: Vec<u32>,
    working_until_ns: u64,
    signalled: Vec<u32>,
    buffer: Vec<u8>,
    /// This is the number of operations submitted and not completed, integrated over time.
    in_flight_ns: u64,
    begun: u64,
    largest_batch: usize,
    /// Counts calls that submitted operations.
    calls_that_gave: u64,
    /// Counts waits that began with fewer operations than slots, while there was more to do.
    shallow_waits: u64,
}

impl VirtualDrive {
    fn new(depth: usize, batch: usize) -> Self {
        Self {
            depth,
            batch,
            now_ns: 0,
            queued: Vec::new(),
            waiting: VecDeque::new(),
            working: Vec::new(),
            working_until_ns: 0,
            signalled: Vec::new(),
            buffer: vec![0; 4096],
            in_flight_ns: 0,
            begun: 0,
            largest_batch: 0,
            calls_that_gave: 0,
            shallow_waits: 0,
        }
    }

    fn mean_in_flight(&self) -> f64 {
        self.in_flight_ns as f64 / self.now_ns as f64
    }

    /// Returns the share of time in which the drive worked.
    fn busy(&self) -> f64 {
        (OPERATIONS * SERVICE_NS) as f64 / self.now_ns as f64
    }

    fn in_flight(&self) -> usize {
        self.waiting.len() + self.working.len()
    }

    /// Advances the time, also for the drive.
    fn advance_to(&mut self, until_ns: u64) {
        loop {
            if self.working.is_empty() && !self.waiting.is_empty() {
                self.working.extend(self.waiting.drain(..));
                self.working_until_ns = self.now_ns + SERVICE_NS * self.working.len() as u64;
            }
            let step_ns =
                if self.working.is_empty() { until_ns } else { until_ns.min(self.working_until_ns) };
            self.in_flight_ns += (step_ns - self.now_ns) * self.in_flight() as u64;
            self.now_ns = step_ns;
            if !self.working.is_empty() && step_ns == self.working_until_ns {
                self.signalled.append(&mut self.working);
            } else {
                return;
            }
        }
    }

    fn give(&mut self) {
        let count = self.queued.len();
        self.largest_batch = self.largest_batch.max(count);
        self.calls_that_gave += u64::from(count > 0);
        // The kernel holds a batch back until its last operation is ready.
        self.advance_to(self.now_ns + CALL_NS + START_NS * count as u64);
        self.waiting.extend(self.queued.drain(..));
        self.advance_to(self.now_ns);
    }
}

impl IoEngine for VirtualDrive {
    fn prepare(&mut self, _progress: &mut dyn FnMut(f64)) -> Result<(), EngineError> {
        Ok(())
    }

    fn buffer(&mut self, _slot: u32) -> &mut [u8] {
        &mut self.buffer
    }

    fn batch(&self) -> usize {
        self.batch
    }

    fn hand_over(&mut self) -> Result<(), EngineError> {
        self.give();
        Ok(())
    }

    fn submit(&mut self, slot: u32, _operation: &Operation) {
        self.begun += 1;
        self.queued.push(slot);
        self.advance_to(self.now_ns + QUEUE_NS);
    }

    fn reap(
        &mut self,
        at_least: usize,
        _deadline_ns: Option<u64>,
        done: &mut Vec<Completion>,
    ) -> Result<(), EngineError> {
        self.give();
        let occupied = self.in_flight() + self.signalled.len();
        assert!(at_least <= 1 && occupied >= at_least, "a wait for what was never begun");
        self.shallow_waits += u64::from(occupied < self.depth && self.begun < OPERATIONS);
        if self.signalled.len() < at_least {
            self.advance_to(self.working_until_ns);
        }
        done.extend(self.signalled.drain(..).map(|slot| Completion { slot, result: 4096 }));
        Ok(())
    }

    fn finish(&mut self) -> Result<(), EngineError> {
        Ok(())
    }
}

/// Runs all operations, and returns the drive and what the loop measured.
fn run_at(depth: u32, batch: usize) -> (VirtualDrive, JobResult) {
    let mut job = Job::plain("job", Engine::IoUring);
    (job.depth, job.number_ios) = (depth, Some(OPERATIONS));
    job.pattern = Pattern { reads: true, writes: false, trims: false, random: true };
    let target = Target::Files(vec![Region { start: 0, length: OPERATIONS * 4096 }]);
    let mut drive = VirtualDrive::new(depth as usize, batch);
    let (telemetry, stop) = (Telemetry::default(), AtomicBool::new(false));
    let parts = Parts {
        job: &job,
        clock: Clock::start(),
        source: Source::new(&job, 0, &target).unwrap(),
        check: None,
        filler: Filler::new(&job, 0),
        telemetry: &telemetry,
        stop: &stop,
        number: 0,
        files: 1,
    };
    let (recorder, failure) = Worker::new(&mut drive, parts).run();
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(drive.begun, OPERATIONS);
    assert_eq!((drive.in_flight(), drive.signalled.len(), drive.queued.len()), (0, 0, 0));
    (drive, recorder.result)
}

#[test]
fn a_drive_keeps_the_depth_that_was_asked_for() {
    for depth in [8, 16, 32, 64, 128, 512] {
        let batch = batch_of(depth);
        let (drive, result) = run_at(depth, batch);
        assert_eq!(result.by_direction.read.ios, OPERATIONS);
        assert_eq!(drive.shallow_waits, 0, "depth {depth}: the loop waited while slots were free");
        assert!(drive.largest_batch <= batch, "depth {depth}: {} at once", drive.largest_batch);
        assert!(drive.busy() > 0.99, "depth {depth}: the drive worked {} of the time", drive.busy());
        // This is what a load like fio's has in flight, which replaces one operation after the
        // other.
        let (one_by_one, _) = run_at(depth, 1);
        let (mean, wanted) = (drive.mean_in_flight(), 0.97 * one_by_one.mean_in_flight());
        assert!(mean >= wanted, "depth {depth}: {mean} in flight, {wanted} were to be");
    }
}

#[test]
fn the_drive_of_these_tests_notices_what_is_handed_over_all_at_once() {
    let (drive, result) = run_at(32, usize::MAX);
    assert_eq!(drive.largest_batch, 32);
    assert!(drive.busy() < 0.9 && drive.mean_in_flight() < 28.0);
    // All calls submit 17 to 32 operations.
    assert_eq!(result.submitted.0, [0, 0, 0, 0, drive.calls_that_gave, 0, 0]);
}

#[test]
fn calls_are_counted_with_what_they_hand_over() {
    let (drive, result) = run_at(32, batch_of(32));
    assert_eq!(result.submitted.0, [0, drive.calls_that_gave, 0, 0, 0, 0, 0]);
    // A call that waits also submits the rest of the queue: there are fewer calls than a third of
    // the operations.
    assert!(drive.calls_that_gave < OPERATIONS / 3, "{} calls", drive.calls_that_gave);
    assert_eq!(result.depth.0.iter().sum::<u64>(), OPERATIONS);
}
