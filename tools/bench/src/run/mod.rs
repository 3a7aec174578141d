//! This module runs a plan (threads, stages, time, progress) and returns what was measured.
//!
//! Invariants:
//! - Jobs of a stage start together, once all of their threads have laid out and opened their
//!   files; the next stage starts when all of them have ended. A job with `wait_for` starts when
//!   the job it names has ended.
//! - Each engine belongs to one thread. While they run, threads share nothing except what
//!   [`status::Telemetry`] stores.
//! - An interrupt (SIGINT, SIGTERM) ends the running jobs and prevents others from starting; what
//!   was measured is returned.

mod check;
mod fill;
mod guard;
mod latency_target;
mod measure;
mod merge;
mod object_check;
mod places;
mod schedule;
mod status;
mod steady;
mod system;
mod thread;
mod verify;
mod worker;

pub use guard::GuardError;
pub use places::{PlacesError, check as check_places};
pub use status::{JobStatus, Phase, Rate, Status, Unwatched, Watcher};
pub use steady::SteadyReport;
pub use system::{settle, thread_usage};

use super::cli::RunOptions;
use super::engine::Clock;
use super::engine::layout::LayoutLock;
use super::report::fingerprint;
use super::result::{JobResult, Run};
use super::spec::{Engine, Job, Plan};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Says why nothing was run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("there is no job to run")]
    Empty,
    #[error(transparent)]
    Guard(#[from] GuardError),
    #[error(transparent)]
    Places(#[from] PlacesError),
    #[error("job {job}: {text}")]
    Job { job: String, text: String },
    #[error("the handler of interrupts could not be set: {0}")]
    Signals(std::io::Error),
}

/// Holds what all threads of a run share.
struct Shared {
    clock: Clock,
    stop: Arc<AtomicBool>,
    layout: LayoutLock,
    allow_overwrite: bool,
}

/// Runs all jobs of the plan. Failures of jobs are in their results.
///
/// # Errors
/// Fails when nothing was run, because the plan is not valid or would overwrite something it must
/// not.
pub fn run(plan: &Plan, options: &RunOptions, watcher: &mut dyn Watcher) -> Result<Run, RunError> {
    let interrupts = Interrupts::catch()?;
    run_until(plan, options, watcher, interrupts.stop.clone())
}

/// Runs all jobs of the plan as [`run`] does, until `stop` is set instead of an interrupt.
///
/// # Errors
/// Fails as [`run`] does.
pub fn run_until(
    plan: &Plan,
    options: &RunOptions,
    watcher: &mut dyn Watcher,
    stop: Arc<AtomicBool>,
) -> Result<Run, RunError> {
    check(plan)?;
    places::check(plan, options)?;
    let claims = guard::claim(plan, options.allow_overwrite)?;
    let started_unix_ms =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    // The command line is part of the results. Arguments that are not UTF-8 are left out.
    let arguments: Vec<String> = std::env::args_os().filter_map(|one| one.into_string().ok()).collect();
    let disks = system::Disks::below(&paths(plan));
    let allow_overwrite = options.allow_overwrite;
    let layout = LayoutLock::new(stop.clone());
    let shared = Shared { clock: Clock::start(), stop, layout, allow_overwrite };
    let header = Run {
        started_unix_ms,
        plan: plan.clone(),
        jobs: Vec::new(),
        disks: Vec::new(),
        fingerprint: fingerprint::gather(plan, &arguments),
        interrupted: false,
    };
    let results = schedule::run(plan, options, &shared, &header, watcher);
    drop(claims);
    let interrupted = shared.stop.load(Ordering::Relaxed);
    let disks = disks.since(shared.clock.now_ns());
    Ok(Run { jobs: by_group(&results), disks, interrupted, ..header })
}

/// Catches the interrupts (SIGINT, SIGTERM) of this process until it is dropped: the first one sets
/// `stop`, which ends a run in order; a second one ends the process.
pub struct Interrupts {
    pub stop: Arc<AtomicBool>,
    ids: Vec<signal_hook::SigId>,
}

impl Interrupts {
    /// Begins to catch interrupts.
    ///
    /// # Errors
    /// Fails when the system rejects a signal handler.
    pub fn catch() -> Result<Self, RunError> {
        let mut interrupts = Self { stop: Arc::default(), ids: Vec::new() };
        let stop = &interrupts.stop;
        for signal in [SIGINT, SIGTERM] {
            let end = signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, stop.clone());
            interrupts.ids.push(end.map_err(RunError::Signals)?);
            let set = signal_hook::flag::register(signal, stop.clone());
            interrupts.ids.push(set.map_err(RunError::Signals)?);
        }
        Ok(interrupts)
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.ids.drain(..).for_each(|id| {
            signal_hook::low_level::unregister(id);
        });
    }
}

/// Checks what can be checked before anything runs.
fn check(plan: &Plan) -> Result<(), RunError> {
    if plan.jobs.is_empty() || plan.jobs.iter().all(|job| job.threads == 0) {
        return Err(RunError::Empty);
    }
    for job in &plan.jobs {
        let refuse = |text: String| Err(RunError::Job { job: job.name.clone(), text });
        if let Some(name) = &job.wait_for
            && !plan.jobs.iter().any(|other| other.name == *name && other.stage <= job.stage)
        {
            return refuse(format!("wait_for={name}: no job of that name runs before this one or beside it"));
        }
        if job.engine != Engine::IoUring {
            if let Some(key) = job.flush_key() {
                return refuse(format!(
                    "{key} needs ioengine=io_uring: objects are whole and durable as they are"
                ));
            }
        } else if job.objects.ops.is_some() {
            return refuse("op= is of objects: give rw= for ioengine=io_uring".to_owned());
        }
        if let Err(text) = system::cores_of(job) {
            return refuse(text);
        }
    }
    Ok(())
}

fn paths(plan: &Plan) -> Vec<std::path::PathBuf> {
    let local = plan.jobs.iter().filter(|job| job.engine != Engine::S3);
    local.flat_map(|job| (0..job.threads).flat_map(|thread| job.paths(thread))).collect()
}

/// Sums the threads of each group that has `group_reporting`, in the order of the plan.
fn by_group(results: &[JobResult]) -> Vec<JobResult> {
    let mut groups: Vec<JobResult> = Vec::with_capacity(results.len());
    for result in results {
        let together = |job: &Job| job.group_reporting && job.group == result.job.group;
        match groups.iter_mut().find(|group| result.job.group_reporting && together(&group.job)) {
            Some(group) => group.merge(result),
            None => groups.push(result.clone()),
        }
    }
    groups
}

#[cfg(test)]
mod option_tests;
#[cfg(test)]
mod public_tests;
#[cfg(test)]
mod scaled;
#[cfg(test)]
mod tests;
