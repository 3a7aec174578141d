//! This module reads fio's job grammar: it turns job files and a command line into a [`Plan`].
//!
//! The text is split into sections ([`parser`], [`command_line`]), their keys are looked up in one
//! table ([`keys`]), and `resolve` makes jobs of them. Errors are [`JobError`]s with file and line.
//!
//! Invariant: no input of a user panics, and nothing is ignored unless the table says why that is
//! harmless.

pub mod command_line;
pub mod error;
mod expression;
pub mod help;
pub mod keys;
pub mod parser;
mod resolve;
pub mod show;
pub mod units;
mod values;

pub use self::command_line::{Action, CommandLine};
pub use self::error::{JobError, Place, Refusals};
pub use self::parser::{Section, Surroundings};
pub use self::resolve::{MASK, Resolved};

use self::parser::{parse_file, parse_text};
use self::resolve::resolve;
use self::units::Machine;
use super::spec::{Engine, Plan};
use std::path::Path;

impl Surroundings<'static> {
    /// Returns the environment and the machine of this process.
    pub fn of_process() -> Self {
        Self { environment: &|name| std::env::var(name).ok(), machine: machine() }
    }
}

fn machine() -> Machine {
    let cpus = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let page_bytes = rustix::param::page_size() as u64;
    let memory_mib = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory_mib(&text));
    Machine { page_bytes, cpus, memory_mib: memory_mib.unwrap_or(0) }
}

fn memory_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024)
}

/// Reads the jobs of a file; `-` is stdin.
///
/// # Errors
/// Returns everything in the file that is not valid.
pub fn of_file(path: &Path, around: &Surroundings<'_>) -> Result<Resolved, Refusals> {
    let mut refusals = Refusals::default();
    let sections = parse_file(path, 1, around, &mut refusals);
    let resolved = resolve(&sections, around, &mut refusals);
    refusals.or_else(resolved)
}

/// Reads the jobs of a text; `path` is the file that refusals name.
///
/// # Errors
/// Returns everything in the text that is not valid.
pub fn of_text(text: &str, path: &Path, around: &Surroundings<'_>) -> Result<Resolved, Refusals> {
    let mut refusals = Refusals::default();
    let sections = parse_text(text, path, 1, around, &mut refusals);
    let resolved = resolve(&sections, around, &mut refusals);
    refusals.or_else(resolved)
}

/// Checks that each job with an S3 endpoint has credentials. This is separate from parsing, so that
/// a job file can be examined without secrets.
///
/// # Errors
/// Names the first job that has no credentials.
pub fn check_credentials(plan: &Plan) -> Result<(), JobError> {
    let without = plan.jobs.iter().find(|job| {
        job.engine == Engine::S3 && (job.objects.access_key.is_empty() || job.objects.secret_key.is_empty())
    });
    match without {
        None => Ok(()),
        Some(job) => Err(JobError::Nothing(format!(
            "job {}: {} needs credentials: set RINGBOLT_ACCESS_KEY and RINGBOLT_SECRET_KEY (or AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY), or give http_s3_keyid and http_s3_key",
            job.name, job.objects.host
        ))),
    }
}

#[cfg(test)]
pub mod tests;
