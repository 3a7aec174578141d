//! This module defines the errors of a plan's input and the places where they occur.
//!
//! Invariant: each message says what was written, why it is not valid, and what to write instead.

use std::fmt;
use std::path::PathBuf;

/// Names the place where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Lines are counted from 1; 0 means the file as a whole.
    Line { file: PathBuf, line: usize },
    /// The value comes from `--set` or `--sweep`.
    CommandLine,
    /// The value is a default.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line: 0 } => write!(formatter, "{}", file.display()),
            Self::Line { file, line } => write!(formatter, "{}:{line}", file.display()),
            Self::CommandLine => formatter.write_str("command line"),
            Self::Default => formatter.write_str("default"),
        }
    }
}

/// Says why the input of a plan is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    #[error("{place}: not TOML: {reason}")]
    Syntax { place: Place, reason: String },
    #[error("{place}: {key}: no such key{hint}")]
    UnknownKey { place: Place, key: String, hint: String },
    #[error("{place}: [{section}] belongs into the {belongs} file: move it there")]
    WrongFile { place: Place, section: String, belongs: &'static str },
    #[error("{}: {key} is missing: {what}, as in {example}", .file.display())]
    Missing { file: PathBuf, key: String, what: String, example: String },
    #[error("{place}: {key} = {value}: {reason}")]
    Value { place: Place, key: String, value: String, reason: String },
    #[error("{}: {reason}", .path.display())]
    File { path: PathBuf, reason: String },
    #[error("{text:?}: {reason}")]
    Override { text: String, reason: String },
    #[error("--sweep: {0}")]
    Sweep(String),
}
