//! What can be wrong with a plan's input, and where.
//!
//! Invariant: each message says what was written, why it can not be, and what to write instead.

use std::fmt;
use std::path::PathBuf;

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Lines count from 1; 0: the file as a whole.
    Line { file: PathBuf, line: usize },
    /// `--set` or `--sweep`.
    CommandLine,
    /// Nowhere: it is a default.
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

/// Why there is no input for a plan.
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
