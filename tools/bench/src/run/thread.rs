//! This module runs one thread of a job from start to end: cores, engine, gate, loop.

use super::check::Check;
use super::fill::Filler;
use super::object_check::ObjectCheck;
use super::status::{Phase, Telemetry};
use super::system;
use super::verify::Verifier;
use super::worker::{Failure, Parts, Worker};
use super::{Shared, status};
use crate::engine::drive::Drive;
use crate::engine::objects::ObjectSet;
use crate::engine::plain::Plain;
use crate::engine::ringbolt::RingboltEngine;
use crate::engine::s3::S3Engine;
use crate::engine::{EngineError, IoEngine};
use crate::load::{Source, Target};
use crate::result::JobResult;
use crate::spec::{Calls, Engine, Job};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};

/// This is a message of a thread to the scheduler.
pub enum Event {
    /// The thread is ready to begin.
    Ready(usize),
    /// The thread has ended.
    Ended(usize, Box<JobResult>, Vec<String>),
}

/// Describes one thread of a run.
pub struct Thread<'run> {
    pub job: &'run Job,
    /// This is the number within the job.
    pub number: u32,
    /// This is the number within the run.
    pub index: usize,
    pub shared: &'run Shared,
    pub telemetry: &'run Telemetry,
    pub events: Sender<Event>,
    /// Opens when all threads have reported that they are ready; disconnects when the run is
    /// abandoned.
    pub gate: Receiver<()>,
}

impl Thread<'_> {
    /// Runs the thread, and reports its end.
    pub fn live(self) {
        let (mut result, failure, mut notes) = match self.work() {
            Ok((result, failure, notes)) => (result, failure, notes),
            Err(failure) => (JobResult::empty(self.job), Some(failure), Vec::new()),
        };
        if let Some(failure) = failure {
            result.error = failure.errno;
            result.error_text = Some(failure.text);
        }
        result.number(self.index as u32 + 1);
        // The error is shown for every format and destination of the results.
        notes.extend(result.error_text.clone());
        self.telemetry.set_counts(&result);
        self.telemetry.set_phase(Phase::Done);
        // Nobody receives the event after the run was abandoned.
        self.events.send(Event::Ended(self.index, Box::new(result), notes)).ok();
    }

    /// Does the thread's work. A thread that is not ready when the run is interrupted has not
    /// failed.
    fn work(&self) -> Result<(JobResult, Option<Failure>, Vec<String>), Failure> {
        match self.do_job() {
            Err(failure) if self.shared.stop.load(Ordering::Relaxed) => {
                let note = format!("interrupted before the job began: {}", failure.text);
                let mut result = JobResult::empty(self.job);
                result.notes.push(note.clone());
                Ok((result, None, vec![note]))
            }
            outcome => outcome,
        }
    }

    fn do_job(&self) -> Result<(JobResult, Option<Failure>, Vec<String>), Failure> {
        let mut cores = system::cores_of(self.job).map_err(Failure::of)?;
        if let Some(shared) = cores.as_mut().filter(|_| self.job.split_cpus) {
            *shared = vec![shared[self.number as usize % shared.len()]];
        }
        system::settle(cores.as_deref()).map_err(Failure::of)?;
        self.telemetry.set_phase(Phase::LayingOut);
        let (job, clock) = (self.job, self.shared.clock);
        let mut progress = |share: f64| self.telemetry.set_fraction(share);
        let objects = || ObjectSet::of(job).map(|set| Target::Objects(set.count));
        match job.engine {
            Engine::IoUring if job.calls != Calls::Queued => {
                let opened = Plain::open(job, self.number, clock, &self.shared.layout, &mut progress);
                let (plain, regions) = opened.map_err(Failure::of)?;
                self.measure(plain, &Target::Files(regions))
            }
            Engine::IoUring => {
                let opened = Drive::open(job, self.number, clock, &self.shared.layout, &mut progress);
                let (drive, regions) = opened.map_err(Failure::of)?;
                self.measure(drive, &Target::Files(regions))
            }
            Engine::S3 => {
                let target = objects().map_err(Failure::of)?;
                self.measure(S3Engine::new(job, self.number, clock).map_err(Failure::of)?, &target)
            }
            Engine::Ringbolt => {
                let target = objects().map_err(Failure::of)?;
                self.measure(
                    RingboltEngine::new(job, clock, self.shared.allow_overwrite).map_err(Failure::of)?,
                    &target,
                )
            }
        }
    }

    fn measure<E: IoEngine>(
        &self,
        mut engine: E,
        target: &Target,
    ) -> Result<(JobResult, Option<Failure>, Vec<String>), Failure> {
        let job = self.job;
        engine.heed(&self.shared.stop);
        engine.prepare(&mut |share| self.telemetry.set_fraction(share)).map_err(Failure::of)?;
        let source = Source::new(job, self.number, target).map_err(Failure::of)?;
        let (check, files) = match target {
            Target::Files(regions) => {
                let verifier = Verifier::new(job, regions).map_err(Failure::of)?;
                (verifier.map(Check::Files), regions.len() as u32)
            }
            Target::Objects(_) => {
                let check = ObjectCheck::new(job, self.number).map_err(Failure::of)?;
                (check.map(Check::Objects), 0)
            }
        };
        self.telemetry.set_phase(Phase::Waiting);
        self.events.send(Event::Ready(self.index)).ok();
        if self.gate.recv().is_err() || !self.wait_for_start(&mut engine)? {
            engine.finish().map_err(Failure::of)?;
            return Ok((JobResult::empty(job), None, engine.notes()));
        }
        if job.start_delay_ns > 0 {
            // What other threads did meanwhile must not be in the cache.
            engine.restart();
        }
        let parts = Parts {
            job,
            clock: self.shared.clock,
            source,
            check,
            filler: Filler::new(job, self.number),
            telemetry: self.telemetry,
            stop: &self.shared.stop,
            number: self.number,
            files,
        };
        let (recorder, failure) = Worker::new(&mut engine, parts).run();
        let mut result = recorder.snapshot(self.shared.clock.now_ns());
        let finished: Result<(), EngineError> = if failure.is_none() { engine.finish() } else { Ok(()) };
        let failure = failure.or_else(|| finished.err().map(Failure::of));
        let (account, mut notes) = (engine.account(), engine.notes());
        match account.failures {
            Some(failures) => result.failures = failures,
            None => notes.extend(result.failures.lines()),
        }
        (result.reconnections, result.client_wait) = (account.reconnections, account.client_wait);
        Ok((result, failure, notes))
    }

    /// Waits for `startdelay`; returns false if the run ended meanwhile.
    fn wait_for_start<E: IoEngine>(&self, engine: &mut E) -> Result<bool, Failure> {
        let clock = self.shared.clock;
        let start_ns = clock.now_ns() + self.job.start_delay_ns;
        let mut none = Vec::new();
        while clock.now_ns() < start_ns && !self.shared.stop.load(Ordering::Relaxed) {
            let until_ns = start_ns.min(clock.now_ns() + status::TICK_NS);
            engine.reap(0, Some(until_ns), &mut none).map_err(Failure::of)?;
            assert!(none.is_empty(), "operations completed before any was begun");
        }
        Ok(!self.shared.stop.load(Ordering::Relaxed))
    }
}
