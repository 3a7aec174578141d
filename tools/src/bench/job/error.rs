//! What can be wrong with jobs, and where.
//!
//! Invariant: each message says what was written, why it can not be, and what to write instead.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    CommandLine,
    /// Lines count from 1.
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

/// Why jobs are not understood.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error("{place}: {key}: no such key{}", did_you_mean(.nearest))]
    UnknownKey { place: Place, key: String, nearest: Option<String> },
    #[error("{place}: {key}: known to fio, not built here{}", because(.hint))]
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
    #[error("--{option}: {reason}; `ringbolt bench --help` has the list")]
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

fn because(hint: &str) -> String {
    if hint.is_empty() { String::new() } else { format!(": {hint}") }
}
