//! This module defines the errors of jobs and the places where they occur.
//!
//! Invariant: each message says what was written, why it is not valid, and what to write instead. A
//! reader of jobs continues after an error, so that [`Refusals`] lists at once everything that
//! prevents a run.

use std::fmt;
use std::path::{Path, PathBuf};

/// Names the place where a key or section was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    CommandLine,
    /// Lines are counted from 1.
    Line {
        file: PathBuf,
        line: usize,
    },
}

impl Place {
    pub fn line(file: &Path, line: usize) -> Self {
        Self::Line { file: file.to_owned(), line }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => formatter.write_str("command line"),
            Self::Line { file, line } => write!(formatter, "{}:{line}", file.display()),
        }
    }
}

/// Says why a job is not valid.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error("{place}: {key}: no such key{}", did_you_mean(.nearest))]
    UnknownKey { place: Place, key: String, nearest: Option<String> },
    #[error("{place}: {key}: fio has it, not built here: {hint}")]
    NotBuilt { place: Place, key: String, hint: String },
    #[error("{place}: {key}={value}: {reason}")]
    Value { place: Place, key: String, value: String, reason: String },
    #[error("{place}: {key}: a value is needed, as in {example}")]
    NoValue { place: Place, key: String, example: String },
    #[error("{place}: job {job}: {reason}")]
    Impossible { place: Place, job: String, reason: String },
    #[error("{place}: {text:?}: {reason}")]
    Grammar { place: Place, text: String, reason: String },
    #[error("{}: {reason}", .path.display())]
    File { path: PathBuf, reason: String },
    #[error("--{option}: {reason}")]
    Option { option: String, reason: String },
    #[error("{0}")]
    Nothing(String),
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(
        || "; `ringbolt bench --cmdhelp` lists all".to_owned(),
        |name| format!("; did you mean {name}? (`ringbolt bench --cmdhelp` lists all)"),
    )
}

/// At most this many refusals are printed: a file with more of them is probably no job file.
const SHOWN_MAX: usize = 50;

/// Collects everything that prevents a run, in the order in which it was found, each reason once.
#[derive(Debug, Default)]
pub struct Refusals(Vec<JobError>);

impl Refusals {
    /// Adds a reason. A reason that is already there, such as that of a key which several jobs
    /// inherit, is not added again.
    pub fn add(&mut self, error: JobError) {
        let text = error.to_string();
        if !self.0.iter().any(|known| known.to_string() == text) {
            self.0.push(error);
        }
    }

    /// Returns the value of a successful step, or adds its error and returns `None`.
    pub fn take<T>(&mut self, outcome: Result<T, JobError>) -> Option<T> {
        outcome.map_err(|error| self.add(error)).ok()
    }

    /// Iterates over the reasons in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &JobError> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns `value` if nothing was refused.
    ///
    /// # Errors
    /// Returns all refusals otherwise.
    pub fn or_else<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl From<JobError> for Refusals {
    fn from(error: JobError) -> Self {
        Self(vec![error])
    }
}

impl std::error::Error for Refusals {}

impl fmt::Display for Refusals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = &self.0[..] {
            return only.fmt(formatter);
        }
        write!(formatter, "{} things stand in the way of this run:", self.0.len())?;
        for error in self.0.iter().take(SHOWN_MAX) {
            write!(formatter, "\n  {error}")?;
        }
        match self.0.len().saturating_sub(SHOWN_MAX) {
            0 => Ok(()),
            more => write!(formatter, "\n  and {more} more"),
        }
    }
}
