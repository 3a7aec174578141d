//! This module is the loop of one thread of a job, the same for every engine.
//!
//! Invariants:
//! - Every slot is free or in flight; `flights` describes the operation of each slot in flight.
//! - The clock is read once for each operation when it is taken from the source, once for all
//!   operations that are submitted together, and once for all that completed together. Nothing is
//!   allocated for an operation.
//! - At most [`IoEngine::batch`] operations are queued before they are submitted: the first of them
//!   does not wait until all free slots have been filled.
//! - When the loop ends, for any reason, nothing is in flight unless the engine failed.

use super::check::{Check, Wrong};
use super::fill::Filler;
use super::latency_target::{DepthSearch, Verdict};
use super::measure::{Flight, Recorder};
use super::status::{Phase, Telemetry};
use super::steady::Sample;
use super::system;
use crate::engine::failures::FailedOperation;
use crate::engine::{Clock, Completion, IoEngine, Operation, Verb};
use crate::load::{Next, Source, Work};
use crate::result::Usage;
use crate::spec::{Calls, Direction, Engine, Job};
use std::sync::atomic::{AtomicBool, Ordering};

/// The thread publishes its state at this interval.
const PUBLISH_NS: u64 = 100_000_000;
/// A wait for an object store is at most this long, so that the end of the job is noticed.
const WAIT_NS_MAX: u64 = 100_000_000;
/// Operations in flight at the end of a job may take this long; then they are aborted, if the
/// engine can do that.
const CUT_AFTER_NS: u64 = 500_000_000;
/// If it cannot, they may take this long; then the job has failed.
const DRAIN_NS_MAX: u64 = 60_000_000_000;

/// Says why a job ended early: the errno, or 0, and a text.
#[derive(Clone, Debug)]
pub struct Failure {
    pub errno: i32,
    pub text: String,
}

impl Failure {
    pub fn of(error: impl std::fmt::Display) -> Self {
        Self { errno: nix::errno::Errno::EIO as i32, text: error.to_string() }
    }
}

/// Holds what the loop uses besides the engine.
pub struct Parts<'run> {
    pub job: &'run Job,
    pub clock: Clock,
    pub source: Source,
    /// This is `None` when the job does not verify.
    pub check: Option<Check>,
    pub filler: Filler,
    pub telemetry: &'run Telemetry,
    pub stop: &'run AtomicBool,
    /// This is the number of the thread within its job.
    pub number: u32,
    /// This is the number of files, for the flush at the end.
    pub files: u32,
}

/// Runs the operations of one thread on an engine.
pub struct Worker<'run, E: IoEngine> {
    engine: &'run mut E,
    parts: Parts<'run>,
    recorder: Recorder,
    flights: Vec<Option<Flight>>,
    free: Vec<u32>,
    queued: Vec<u32>,
    done: Vec<Completion>,
    /// This is how many of `done` were counted; the others wait (`iodepth_batch_complete_max`).
    taken: usize,
    complete_max: usize,
    depth: usize,
    /// Once the depth was reached, no operation begins until at most this many are in flight.
    low: usize,
    draining: bool,
    /// Operations are calls, one after the other, and not queued.
    is_called: bool,
    /// This is how many operations are submitted together at most.
    batch: usize,
    begin_ns: u64,
    end_ns: u64,
    now_ns: u64,
    publish_ns: u64,
    passes_left: u64,
    search: Option<DepthSearch>,
    found: bool,
    writes_since_sync: u64,
    sync_due: Option<(Verb, u32)>,
    think_count: u64,
    think_spin_until_ns: u64,
    think_until_ns: u64,
    reading_back: bool,
    /// Says that the operations in flight were aborted.
    cutting: bool,
    failure: Option<Failure>,
    /// Holds the CPU time of the thread at the end of the ramp, and when it was taken.
    usage_from: Option<(Usage, u64)>,
    /// This is the time when the next sample of `steadystate` ends; `steady_from` is the count at
    /// its beginning.
    steady_ns: u64,
    steady_from: Option<Sample>,
}

/// Says why no further slot was filled.
enum Filled {
    /// All usable slots are in flight.
    Full,
    /// No operation is due before this time.
    Until(u64),
    Exhausted,
}

impl<'run, E: IoEngine> Worker<'run, E> {
    /// Creates a loop that begins now.
    pub fn new(engine: &'run mut E, parts: Parts<'run>) -> Self {
        let job = parts.job;
        let begin_ns = parts.clock.now_ns();
        let measured_ns = begin_ns + job.ramp_ns;
        let end_ns = job.runtime_ns.map_or(u64::MAX, |runtime| measured_ns.saturating_add(runtime));
        let slots = job.depth as usize;
        let search = job.latency_target.map(|target| DepthSearch::new(target, job.depth, measured_ns));
        // Without a runtime, `time_based` has no effect.
        let repeats = job.time_based && job.runtime_ns.is_some();
        Self {
            recorder: Recorder::new(job, measured_ns),
            flights: vec![None; slots],
            free: (0..job.depth).rev().collect(),
            queued: Vec::with_capacity(slots),
            done: Vec::with_capacity(slots),
            taken: 0,
            complete_max: job.batches.complete_max.map_or(usize::MAX, |most| most as usize),
            low: job.batches.depth_low.map_or(usize::MAX, |low| low as usize),
            draining: false,
            is_called: job.engine == Engine::IoUring && job.calls != Calls::Queued,
            batch: job.batches.most.map_or(engine.batch(), |batch| batch as usize),
            depth: search.as_ref().map_or(slots, |search| search.depth() as usize),
            begin_ns,
            end_ns,
            now_ns: begin_ns,
            publish_ns: begin_ns,
            passes_left: if repeats { u64::MAX } else { job.loops.max(1) },
            search,
            found: false,
            writes_since_sync: 0,
            sync_due: None,
            think_count: 0,
            think_spin_until_ns: 0,
            think_until_ns: 0,
            reading_back: false,
            cutting: false,
            failure: None,
            usage_from: None,
            steady_ns: job.steady.map_or(u64::MAX, |steady| measured_ns + steady.ramp_ns),
            steady_from: None,
            engine,
            parts,
        }
    }

    /// Runs the job to its end and returns what was measured.
    pub fn run(mut self) -> (Recorder, Option<Failure>) {
        self.fill_buffers();
        if self.parts.job.ramp_ns == 0 {
            self.usage_from = Some((system::thread_usage(), self.begin_ns));
        }
        while self.passes_left > 0 && self.may_go_on() {
            let outcome = self.pass().and_then(|()| self.read_back());
            if let Err(failure) = outcome {
                self.failure.get_or_insert(failure);
            }
            self.passes_left -= 1;
            self.restart();
        }
        self.recorder.end(self.now_ns);
        // What is not written yet is written in the job's time, as with fio.
        if self.failure.is_none() && (self.parts.job.end_fsync || self.parts.job.close_fsync) {
            let flushed = if self.parts.job.end_fsync { self.sync_all() } else { Ok(()) };
            let closed = flushed.and_then(|()| self.engine.flush_to_close().map_err(Failure::of));
            self.failure = closed.err();
            self.recorder.flushed(self.parts.clock.now_ns());
        }
        self.count_usage();
        self.recorder.result.latency_depth = self.search.as_ref().map(DepthSearch::held);
        (self.recorder, self.failure)
    }

    fn may_go_on(&self) -> bool {
        self.failure.is_none()
            && !self.found
            && self.now_ns < self.end_ns
            && !self.parts.telemetry.enough.load(Ordering::Relaxed)
            && !self.parts.stop.load(Ordering::Relaxed)
    }

    fn fill_buffers(&mut self) {
        if !self.parts.job.pattern.writes && self.parts.job.objects.ops.is_none() {
            return;
        }
        for slot in 0..self.parts.job.depth {
            self.parts.filler.fill(self.engine.buffer(slot));
        }
    }

    /// Runs all operations of the source once.
    fn pass(&mut self) -> Result<(), Failure> {
        while self.may_go_on() {
            let filled = self.fill_slots()?;
            let deadline = match filled {
                Filled::Exhausted if self.in_flight() == 0 => break,
                Filled::Full | Filled::Exhausted => None,
                Filled::Until(until) => Some(until.min(self.end_ns)),
            };
            self.turn(deadline)?;
        }
        self.drain()
    }

    fn fill_slots(&mut self) -> Result<Filled, Failure> {
        loop {
            if self.in_flight() >= self.depth {
                self.draining = self.low < self.depth;
                return Ok(Filled::Full);
            }
            if self.draining && self.in_flight() > self.low {
                return Ok(Filled::Full);
            }
            self.draining = false;
            while self.now_ns < self.think_spin_until_ns {
                self.now_ns = self.parts.clock.now_ns();
            }
            if self.now_ns < self.think_until_ns {
                return Ok(Filled::Until(self.think_until_ns));
            }
            if let Some((verb, file)) = self.sync_due.take() {
                self.submit(Work { operation: flush(verb, file), intended_ns: None })?;
                continue;
            }
            match self.parts.source.next(self.now_ns - self.begin_ns) {
                Next::Work(work) => self.submit(work)?,
                Next::WaitUntil(at) => return Ok(Filled::Until(self.begin_ns.saturating_add(at))),
                // If nothing has to be read back between passes, they follow each other without a
                // gap.
                Next::Exhausted if self.parts.check.is_none() && self.passes_left > 1 => {
                    self.passes_left -= 1;
                    self.restart();
                }
                Next::Exhausted => return Ok(Filled::Exhausted),
            }
        }
    }

    fn restart(&mut self) {
        self.parts.source.restart();
        self.engine.restart();
    }

    fn in_flight(&self) -> usize {
        self.flights.len() - self.free.len()
    }

    /// Queues an operation. If the queue already holds a full batch, it is submitted first; the
    /// last operations are submitted with the call that waits.
    #[inline]
    fn submit(&mut self, work: Work) -> Result<(), Failure> {
        if self.queued.len() >= self.batch {
            self.count_handed_over();
            self.engine.hand_over().map_err(Failure::of)?;
        }
        let slot = self.free.pop().unwrap_or_else(|| panic!("a slot was free a moment ago"));
        let operation = work.operation;
        let start_ns = self.parts.clock.now_ns();
        if operation.verb.direction() == Some(Direction::Write) {
            let length = operation.length as usize;
            let content = &mut self.engine.buffer(slot)[..length];
            self.parts.filler.renew(content);
            if let Some(check) = &mut self.parts.check {
                check.stamp(content, &operation);
            }
            self.count_write(&operation);
        }
        self.engine.submit(slot, &operation);
        let intended_ns = work.intended_ns.map(|intended| self.begin_ns + intended);
        self.flights[slot as usize] = Some(Flight { operation, start_ns, issue_ns: start_ns, intended_ns });
        self.queued.push(slot);
        Ok(())
    }

    /// Counts the queued operations as submitted now.
    fn count_handed_over(&mut self) {
        let Some(first) = self.queued.first() else { return };
        let issue_ns = match &self.flights[*first as usize] {
            // Nothing was done since then, and nothing is queued by a call.
            Some(flight) if self.is_called && flight.operation.verb == Verb::Read => flight.start_ns,
            _ => self.parts.clock.now_ns(),
        };
        for slot in &self.queued {
            if let Some(flight) = &mut self.flights[*slot as usize] {
                flight.issue_ns = issue_ns;
            }
        }
        self.recorder.submitted(self.queued.len(), self.in_flight(), issue_ns);
        self.queued.clear();
    }

    fn count_write(&mut self, operation: &Operation) {
        let (every, verb) = match self.parts.job {
            Job { fsync: every @ 1.., .. } => (*every, Verb::Sync),
            Job { fdatasync: every @ 1.., .. } => (*every, Verb::DataSync),
            _ => return,
        };
        self.writes_since_sync += 1;
        if self.writes_since_sync == every {
            self.writes_since_sync = 0;
            self.sync_due = Some((verb, operation.file));
        }
    }

    /// Submits what is queued, waits for one completion or the deadline, and counts the
    /// completions.
    fn turn(&mut self, deadline_ns: Option<u64>) -> Result<(), Failure> {
        self.count_handed_over();
        let deadline_ns = match deadline_ns {
            None if self.parts.job.engine != Engine::IoUring => Some(self.now_ns + WAIT_NS_MAX),
            deadline => deadline.map(|at| at.min(self.now_ns + WAIT_NS_MAX)),
        };
        let mut done = std::mem::take(&mut self.done);
        let outcome = if self.taken < done.len() {
            self.engine.hand_over()
        } else {
            done.clear();
            self.taken = 0;
            let wanted = self.in_flight().min(self.parts.job.batches.complete_min as usize);
            self.engine.reap(wanted, deadline_ns, &mut done)
        };
        self.now_ns = self.parts.clock.now_ns();
        let until = done.len().min(self.taken.saturating_add(self.complete_max));
        if until > self.taken {
            self.recorder.reaped(until - self.taken, self.now_ns);
        }
        for completion in &done[self.taken..until] {
            self.complete(completion);
        }
        self.taken = until;
        self.done = done;
        outcome.map_err(Failure::of)?;
        self.tick()
    }

    /// Counts the CPU time over the same span as the operations.
    fn count_usage(&mut self) {
        let now_ns = self.parts.clock.now_ns();
        if let Some((before, from_ns)) = &self.usage_from {
            self.recorder.result.usage = system::usage_since(before, now_ns - from_ns);
        }
    }

    fn tick(&mut self) -> Result<(), Failure> {
        if self.usage_from.is_none() && self.now_ns >= self.begin_ns + self.parts.job.ramp_ns {
            self.usage_from = Some((system::thread_usage(), self.now_ns));
        }
        self.recorder.tick(self.now_ns).map_err(Failure::of)?;
        match self.search.as_mut().and_then(|search| search.check(self.now_ns)) {
            Some(Verdict::Depth(depth)) => self.depth = depth as usize,
            Some(Verdict::Found(_)) => self.found = true,
            None => {}
        }
        while self.now_ns >= self.steady_ns {
            self.sample();
        }
        if self.now_ns >= self.publish_ns {
            self.publish_ns = self.now_ns + PUBLISH_NS;
            self.publish();
        }
        Ok(())
    }

    /// Publishes what was done since the last sample. The first call only sets the starting point.
    fn sample(&mut self) {
        let Some(steady) = self.parts.job.steady else { return };
        let counted = Direction::ALL.into_iter().map(|of| self.recorder.result.by_direction.get(of));
        let so_far = counted.fold(Sample::default(), |sum, counted| Sample {
            ios: sum.ios + counted.ios,
            bytes: sum.bytes + counted.bytes,
        });
        if let Some(from) = self.steady_from.replace(so_far) {
            let (ios, bytes) = (so_far.ios - from.ios, so_far.bytes - from.bytes);
            self.parts.telemetry.add_sample(Sample { ios, bytes });
        }
        self.steady_ns += steady.interval_ns;
    }

    fn publish(&mut self) {
        let telemetry = self.parts.telemetry;
        telemetry.set_counts(&self.recorder.result);
        let since = self.now_ns - self.begin_ns;
        let job = self.parts.job;
        if !self.reading_back {
            let is_ramping = since < job.ramp_ns;
            telemetry.set_phase(if is_ramping { Phase::Ramping } else { Phase::Running });
            let of_time = job.runtime_ns.map_or(0.0, |runtime| since as f64 / (job.ramp_ns + runtime) as f64);
            let passes = job.loops.max(1);
            let passed = passes.saturating_sub(self.passes_left) as f64;
            let of_work = (passed + self.parts.source.done_fraction()) / passes as f64;
            let repeats = job.time_based && job.runtime_ns.is_some();
            telemetry.set_fraction(if repeats { of_time } else { of_time.max(of_work) });
        }
        if telemetry.wants_snapshot.load(Ordering::Acquire) {
            self.count_usage();
            telemetry.give_snapshot(self.recorder.snapshot(self.now_ns));
        }
    }

    #[inline]
    fn complete(&mut self, completion: &Completion) {
        let flight = self.flights[completion.slot as usize].take();
        let flight = flight.unwrap_or_else(|| panic!("slot {} was not in flight", completion.slot));
        self.free.push(completion.slot);
        self.parts.source.ended(&flight.operation, completion.result >= 0);
        if let Ok(bytes) = u64::try_from(completion.result) {
            let bytes = if flight.operation.verb == Verb::Trim { flight.operation.length } else { bytes };
            self.recorder.done(&flight, bytes, self.now_ns);
            if self.parts.check.is_some() {
                self.look_at(completion.slot, &flight.operation, bytes);
            }
        } else {
            self.failed(&flight.operation, -completion.result as i32);
        }
        self.after(&flight);
    }

    /// Updates the depth search and the think time after an operation ended.
    fn after(&mut self, flight: &Flight) {
        if let Some(search) = &mut self.search
            && flight.issue_ns >= self.begin_ns + self.parts.job.ramp_ns
        {
            search.count(self.now_ns - flight.issue_ns);
        }
        if self.parts.job.think_ns > 0 && flight.operation.verb.direction().is_some() {
            self.think_count += 1;
            if self.think_count >= self.parts.job.think_blocks.max(1) {
                self.think_count = 0;
                self.think_spin_until_ns = self.now_ns + self.parts.job.think_spin_ns;
                self.think_until_ns = self.now_ns + self.parts.job.think_ns;
            }
        }
    }

    fn failed(&mut self, operation: &Operation, errno: i32) {
        let was_cut = self.cutting && errno == nix::errno::Errno::ECANCELED as i32;
        if was_cut {
            self.recorder.cut(operation.verb);
        } else {
            self.recorder.failed(operation.verb);
        }
        if let Some(check) = &mut self.parts.check {
            check.ended(operation, None);
        }
        if was_cut {
            return;
        }
        let kinds = self.parts.job.continue_on_error;
        // A server that no longer answers must not hold the job for one timeout per object to read
        // back.
        let hangs = self.reading_back && errno == nix::errno::Errno::ETIMEDOUT as i32;
        let goes_on = !hangs
            && match operation.verb.direction() {
                Some(Direction::Read) => kinds.read,
                _ => kinds.write,
            };
        let Operation { verb, file, offset, length, number } = *operation;
        let error = std::io::Error::from_raw_os_error(errno);
        let hint = match (errno, self.parts.job.direct) {
            (22, true) => "; with direct=1 offsets and lengths are multiples of the drive's logical blocks",
            _ => "",
        };
        let place = match self.parts.job.engine {
            Engine::IoUring => format!("of {length} bytes at {offset} of file {file}"),
            Engine::Ringbolt | Engine::S3 => format!("of object {number}"),
        };
        if self.parts.job.engine == Engine::IoUring {
            let path = self.parts.job.path(self.parts.number, file);
            self.recorder.result.failures.count(FailedOperation {
                operation: verb.name().to_owned(),
                path: path.display().to_string(),
                offset: Some(offset),
                errno,
                kind: error.to_string(),
                text: format!("{error}; {length} bytes{hint}"),
                ..FailedOperation::default()
            });
        }
        let failure = Failure { errno, text: format!("{verb:?} {place} failed: {error}{hint}") };
        if !goes_on {
            self.failure.get_or_insert(failure);
        }
    }

    fn look_at(&mut self, slot: u32, operation: &Operation, bytes: u64) {
        let Some(check) = &mut self.parts.check else { return };
        check.ended(operation, Some(bytes));
        let content = self.engine.buffer(slot);
        let length = content.len().min(bytes as usize);
        let wrong = check.look_at(&content[..length], operation, self.reading_back);
        let is_fatal = check.settings().fatal || !self.parts.job.continue_on_error.verify;
        if let Some(Wrong { pieces, text }) = wrong {
            let result = &mut self.recorder.result;
            result.verify_failures += pieces;
            result.error_text.get_or_insert_with(|| text.clone());
            if is_fatal {
                self.failure.get_or_insert(Failure { errno: nix::errno::Errno::EILSEQ as i32, text });
            }
        }
    }

    /// Waits for the operations in flight; no new ones begin.
    fn drain(&mut self) -> Result<(), Failure> {
        let give_up_ns = self.now_ns.saturating_add(DRAIN_NS_MAX);
        let cut_ns = self.now_ns.saturating_add(CUT_AFTER_NS);
        self.cutting = false;
        while self.in_flight() > 0 {
            if self.now_ns > cut_ns {
                self.cutting = true;
                self.engine.cut();
            }
            self.turn(None)?;
            if self.now_ns > give_up_ns {
                let count = self.in_flight();
                let seconds = DRAIN_NS_MAX / 1_000_000_000;
                return Err(Failure::of(format!(
                    "{count} operations had not ended {seconds} s after the job"
                )));
            }
        }
        Ok(())
    }

    /// Reads back what this pass has written. As in fio, this happens also when the time is up, but
    /// not after an interrupt.
    fn read_back(&mut self) -> Result<(), Failure> {
        if !self.parts.check.as_ref().is_some_and(Check::reads_back) || self.failure.is_some() {
            return Ok(());
        }
        self.reading_back = true;
        self.parts.telemetry.set_phase(Phase::Verifying);
        self.recorder.begin_phase(self.now_ns);
        let outcome = self.read_written();
        self.recorder.begin_phase(self.now_ns);
        self.reading_back = false;
        if let Some(check) = &mut self.parts.check {
            check.next_pass();
        }
        outcome
    }

    fn read_written(&mut self) -> Result<(), Failure> {
        if let Some(check) = &mut self.parts.check {
            check.rewind();
        }
        while self.failure.is_none() && !self.parts.stop.load(Ordering::Relaxed) {
            while self.in_flight() < self.flights.len() {
                let next = self.parts.check.as_mut().and_then(Check::next_read);
                let Some(operation) = next else { break };
                self.submit(Work { operation, intended_ns: None })?;
            }
            if self.in_flight() == 0 {
                break;
            }
            self.turn(None)?;
        }
        self.drain()
    }

    fn sync_all(&mut self) -> Result<(), Failure> {
        for file in 0..self.parts.files {
            self.submit(Work { operation: flush(Verb::Sync, file), intended_ns: None })?;
            self.drain()?;
        }
        self.failure.take().map_or(Ok(()), Err)
    }
}

fn flush(verb: Verb, file: u32) -> Operation {
    Operation { verb, file, offset: 0, length: 0, number: 0 }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
