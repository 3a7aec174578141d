//! This module decides when threads run, and reports the status while they do.
//!
//! Invariant: a thread is started once, when its job's stage has come and the job it waits for has
//! ended. Its gate opens when all threads started with it are ready or have failed.

use super::status::{JobStatus, Phase, Rate, Status, TICK_NS, Telemetry, Watcher};
use super::steady::{Sample, Window};
use super::thread::{Event, Thread};
use super::{Shared, by_group};
use crate::cli::RunOptions;
use crate::engine::s3::S3Engine;
use crate::result::{JobResult, Run};
use crate::spec::{ByDirection, Direction, Engine, Job, Plan};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::Scope;
use std::time::Duration;

/// Describes one thread of one job.
struct Seat<'run> {
    job_index: usize,
    number: u32,
    job: &'run Job,
    telemetry: Telemetry,
}

/// Runs every job's threads and returns their results in the order of the plan.
pub fn run(
    plan: &Plan,
    options: &RunOptions,
    shared: &Shared,
    header: &Run,
    watcher: &mut dyn Watcher,
) -> Vec<JobResult> {
    let seats: Vec<Seat<'_>> = plan
        .jobs
        .iter()
        .enumerate()
        .flat_map(|(job_index, job)| {
            (0..job.threads).map(move |number| Seat {
                job_index,
                number,
                job,
                telemetry: Telemetry::default(),
            })
        })
        .collect();
    let (sender, events) = mpsc::channel();
    std::thread::scope(|scope| {
        let mut board = Board {
            plan,
            seats: &seats,
            shared,
            sender,
            cohorts: Vec::new(),
            started: BTreeSet::new(),
            results: vec![None; seats.len()],
            judged: judged_together(&seats),
            told: BTreeSet::new(),
            watch: Watch::new(options, seats.len(), shared.clock.now_ns()),
        };
        board.start_due(scope);
        while board.is_running() {
            match events.recv_timeout(board.watch.wait(shared.clock.now_ns())) {
                Ok(Event::Ready(seat)) => board.ready(seat),
                Ok(Event::Ended(seat, result, notes)) => {
                    let job = &seats[seat].job.name;
                    for note in notes {
                        // Threads of a job often report the same note.
                        if board.told.insert((job.clone(), note.clone())) {
                            watcher.note(job, &note);
                        }
                    }
                    board.results[seat] = Some(*result);
                    board.ready(seat);
                    board.start_due(scope);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            board.judge();
            board.tell(header, watcher);
        }
        board.judge();
        board.add_judgements();
        board.remove_files(watcher);
        board.results.into_iter().flatten().collect()
    })
}

/// Holds the threads whose rates are judged together by `steadystate`, the next sample to judge,
/// and the window.
struct Judged {
    seats: Vec<usize>,
    next: usize,
    window: Window,
}

/// Groups the threads of each job with `steadystate`; with `group_reporting`, those of the whole
/// group.
fn judged_together(seats: &[Seat<'_>]) -> Vec<Judged> {
    let mut judged: Vec<Judged> = Vec::new();
    for (index, seat) in seats.iter().enumerate() {
        let Some(settings) = seat.job.steady else { continue };
        let together = |other: &Judged| {
            let first = &seats[other.seats[0]];
            let grouped = seat.job.group_reporting && first.job.group_reporting;
            grouped && first.job.group == seat.job.group && first.job.steady == seat.job.steady
        };
        match judged.iter_mut().find(|other| together(other)) {
            Some(other) => other.seats.push(index),
            None => judged.push(Judged { seats: vec![index], next: 0, window: Window::new(settings) }),
        }
    }
    judged
}

/// Holds the threads that begin together.
struct Cohort {
    waiting: BTreeSet<usize>,
    gates: Vec<Sender<()>>,
}

struct Board<'run> {
    plan: &'run Plan,
    seats: &'run [Seat<'run>],
    shared: &'run Shared,
    sender: Sender<Event>,
    cohorts: Vec<Cohort>,
    /// Holds the indexes of the jobs that have started.
    started: BTreeSet<usize>,
    results: Vec<Option<JobResult>>,
    judged: Vec<Judged>,
    /// Holds the notes that were reported, each with its job.
    told: BTreeSet<(String, String)>,
    watch: Watch,
}

impl<'run> Board<'run> {
    fn has_ended(&self, job_index: usize) -> bool {
        let mut threads =
            self.seats.iter().zip(&self.results).filter(|(seat, _)| seat.job_index == job_index);
        threads.all(|(_, result)| result.is_some())
    }

    fn is_running(&self) -> bool {
        self.started.iter().any(|job| !self.has_ended(*job))
    }

    fn is_due(&self, job_index: usize) -> bool {
        let job = &self.plan.jobs[job_index];
        let mut others = self.plan.jobs.iter().enumerate();
        others.all(|(other, before)| {
            let named = job.wait_for.as_ref().is_some_and(|name| *name == before.name);
            other == job_index || !(before.stage < job.stage || named) || self.has_ended(other)
        })
    }

    fn start_due<'scope>(&mut self, scope: &'scope Scope<'scope, '_>)
    where
        'run: 'scope,
    {
        if self.shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let due: Vec<usize> = (0..self.plan.jobs.len())
            .filter(|job| !self.started.contains(job) && self.is_due(*job))
            .collect();
        let mut cohort = Cohort { waiting: BTreeSet::new(), gates: Vec::new() };
        for (index, seat) in self.seats.iter().enumerate().filter(|(_, seat)| due.contains(&seat.job_index)) {
            let (gate, opening) = mpsc::channel();
            let thread = Thread {
                job: seat.job,
                number: seat.number,
                index,
                shared: self.shared,
                telemetry: &seat.telemetry,
                events: self.sender.clone(),
                gate: opening,
            };
            scope.spawn(move || thread.live());
            cohort.waiting.insert(index);
            cohort.gates.push(gate);
        }
        self.started.extend(due);
        if !cohort.waiting.is_empty() {
            self.cohorts.push(cohort);
        }
    }

    fn ready(&mut self, seat: usize) {
        for cohort in &mut self.cohorts {
            if cohort.waiting.remove(&seat) && cohort.waiting.is_empty() {
                // A thread that failed earlier has closed its gate.
                cohort.gates.iter().for_each(|gate| {
                    gate.send(()).ok();
                });
            }
        }
    }

    /// Judges the samples that all threads of a window have taken, and ends those threads that are
    /// steady.
    fn judge(&mut self) {
        for judged in &mut self.judged {
            let seats = self.seats;
            let samples_at = |at: usize| -> Option<Vec<Sample>> {
                judged.seats.iter().map(|seat| seats[*seat].telemetry.sample(at)).collect()
            };
            while let Some(samples) = samples_at(judged.next) {
                judged.next += 1;
                let (ios, bytes) =
                    samples.iter().fold((0, 0), |sum, one| (sum.0 + one.ios, sum.1 + one.bytes));
                if judged.window.add(Sample { ios, bytes }) {
                    judged.seats.iter().for_each(|seat| {
                        self.seats[*seat].telemetry.enough.store(true, Ordering::Relaxed);
                    });
                }
            }
        }
    }

    /// Stores the report of each window in the result of its first thread.
    fn add_judgements(&mut self) {
        for judged in &self.judged {
            if let Some(result) = self.results[judged.seats[0]].as_mut() {
                result.steady = Some(judged.window.report());
            }
        }
    }

    fn remove_files(&self, watcher: &mut dyn Watcher) {
        for seat in self.seats.iter().filter(|seat| seat.job.unlink && seat.job.engine == Engine::S3) {
            // The threads of a job have put the same objects.
            if seat.number == 0
                && let Err(error) =
                    S3Engine::new(seat.job, 0, self.shared.clock).and_then(|mut engine| engine.remove())
            {
                watcher.note(&seat.job.name, &format!("unlink=1: objects are left: {error}"));
            }
        }
        for seat in self.seats.iter().filter(|seat| seat.job.unlink && seat.job.engine == Engine::IoUring) {
            for path in seat.job.paths(seat.number) {
                // Only plain files are removed: a device is not created by a job.
                if std::fs::metadata(&path).is_ok_and(|there| there.is_file()) {
                    std::fs::remove_file(&path).ok();
                }
            }
        }
    }

    fn tell(&mut self, header: &Run, watcher: &mut dyn Watcher) {
        let now_ns = self.shared.clock.now_ns();
        if now_ns >= self.watch.status_ns {
            let status = self.status(now_ns);
            watcher.status(&status);
            self.watch.status_ns = now_ns + TICK_NS;
        }
        if self.watch.interim_ns.is_some_and(|at| now_ns >= at) {
            self.watch.interim_ns = self.watch.every_ns.map(|every| now_ns + every);
            let latest = |(seat, result): (&Seat<'_>, &Option<JobResult>)| {
                result.clone().or_else(|| seat.telemetry.latest_snapshot())
            };
            let results: Vec<JobResult> = self.seats.iter().zip(&self.results).filter_map(latest).collect();
            watcher.interim(&Run { jobs: by_group(&results), ..header.clone() });
        } else if self.watch.interim_ns.is_some_and(|at| now_ns + TICK_NS >= at) {
            // Threads check this flag ten times a second.
            let running = self.seats.iter().zip(&self.results).filter(|(_, result)| result.is_none());
            running.for_each(|(seat, _)| seat.telemetry.wants_snapshot.store(true, Ordering::Release));
        }
    }

    fn status(&mut self, now_ns: u64) -> Status {
        let rates = self.watch.rates(self.seats, now_ns);
        let mut jobs = Vec::new();
        let mut left_ns: Option<u64> = None;
        for (job_index, job) in self.plan.jobs.iter().enumerate() {
            let seats = || self.seats.iter().enumerate().filter(|(_, seat)| seat.job_index == job_index);
            let count = seats().count().max(1);
            let phase = seats().map(|(_, seat)| seat.telemetry.phase()).min().unwrap_or(Phase::Waiting);
            let fraction = seats().map(|(_, seat)| seat.telemetry.fraction()).sum::<f64>() / count as f64;
            let mut rate = ByDirection::<Rate>::default();
            for (index, _) in seats() {
                for direction in Direction::ALL {
                    let (sum, part) = (rate.get_mut(direction), rates[index].get(direction));
                    sum.bytes_a_second += part.bytes_a_second;
                    sum.ios_a_second += part.ios_a_second;
                }
            }
            if matches!(phase, Phase::Ramping | Phase::Running) {
                left_ns = left_ns.max(self.watch.left_ns(job_index, fraction, now_ns));
            }
            jobs.push(JobStatus { name: job.name.clone(), threads: job.threads, phase, fraction, rate });
        }
        Status { elapsed_ns: now_ns, left_ns, jobs }
    }
}

/// Says when the next status is due, and holds the figures of the last one.
struct Watch {
    status_ns: u64,
    every_ns: Option<u64>,
    interim_ns: Option<u64>,
    last: Vec<[(u64, u64); 3]>,
    last_ns: u64,
    /// Holds, for each job, when it was first seen running.
    begun: Vec<(usize, u64)>,
}

impl Watch {
    fn new(options: &RunOptions, seats: usize, now_ns: u64) -> Self {
        let every_ns = options.status_interval_ns.filter(|every| *every > 0);
        Self {
            status_ns: now_ns + TICK_NS,
            every_ns,
            interim_ns: every_ns.map(|every| now_ns + every),
            last: vec![[(0, 0); 3]; seats],
            last_ns: now_ns,
            begun: Vec::new(),
        }
    }

    fn wait(&self, now_ns: u64) -> Duration {
        let next_ns = self.status_ns.min(self.interim_ns.unwrap_or(u64::MAX));
        Duration::from_nanos(next_ns.saturating_sub(now_ns).clamp(1_000_000, TICK_NS))
    }

    fn rates(&mut self, seats: &[Seat<'_>], now_ns: u64) -> Vec<ByDirection<Rate>> {
        let seconds = (now_ns - self.last_ns).max(1) as f64 / 1e9;
        self.last_ns = now_ns;
        let mut rates = Vec::with_capacity(seats.len());
        for (seat, last) in seats.iter().zip(&mut self.last) {
            let counts = seat.telemetry.counts();
            let mut rate = ByDirection::<Rate>::default();
            for (at, direction) in Direction::ALL.into_iter().enumerate() {
                *rate.get_mut(direction) = Rate {
                    bytes_a_second: counts[at].0.saturating_sub(last[at].0) as f64 / seconds,
                    ios_a_second: counts[at].1.saturating_sub(last[at].1) as f64 / seconds,
                };
            }
            *last = counts;
            rates.push(rate);
        }
        rates
    }

    /// Estimates the time left in ns from the time that the completed fraction took.
    fn left_ns(&mut self, job_index: usize, fraction: f64, now_ns: u64) -> Option<u64> {
        let begun = self.begun.iter().find(|(job, _)| *job == job_index).map(|(_, at)| *at);
        let begun_ns = begun.unwrap_or_else(|| {
            self.begun.push((job_index, now_ns.saturating_sub(TICK_NS)));
            now_ns.saturating_sub(TICK_NS)
        });
        let spent = (now_ns - begun_ns) as f64;
        (fraction > 0.001).then(|| (spent / fraction * (1.0 - fraction)) as u64)
    }
}
