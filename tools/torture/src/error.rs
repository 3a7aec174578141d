//! This module defines the failures of a torture run and their exit statuses.

use super::set::Part;
use ringbolt_tool_common::process::StartError;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Says why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum TortureError {
    #[error("LOST OR WRONG: {key}\n  expected {expected}\n  found    {found}")]
    Loss { key: String, expected: String, found: String },
    #[error("LOST: the server does not open {drives} after a kill: {error}; its messages are in {}", log.display())]
    DoesNotOpen { drives: String, error: StartError, log: PathBuf },
    #[error("DAMAGED: `ringbolt check --deep` finds {found}")]
    Damaged { found: String },
    #[error("{what} for {limit:?}: {parts:?}; the server's messages are in {}", log.display())]
    Waited { what: &'static str, limit: Duration, parts: Vec<Part>, log: PathBuf },
    #[error("`ringbolt {command}` does not answer as it should: {said}")]
    Command { command: &'static str, said: String },
    #[error("drive {drive} can not be made to fail: {error}")]
    NotFailed { drive: usize, error: io::Error },
    #[error("`ringbolt format` refused the drive; its message is above")]
    NotFormatted,
    #[error("the freshly made drive does not open: {error}; the server's messages are in {}", log.display())]
    FirstStart { error: StartError, log: PathBuf },
    #[error("the server ended by itself with {status}; its messages are in {}", log.display())]
    Ended { status: ExitStatus, log: PathBuf },
    #[error("the server answered {operation} with {status}: {body}; its messages are in server.log")]
    Answer { operation: String, status: u16, body: String },
    #[error("no answer to {operation} from a server that runs: {error}")]
    NoAnswer { operation: String, error: io::Error },
    #[error("can not use {}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
    #[error("a process of the test can not be started or waited for: {0}")]
    Process(#[from] io::Error),
}

impl TortureError {
    /// Returns 1 if something acknowledged is missing or wrong, and 2 if the test could not
    /// continue, which says nothing about the data.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Loss { .. } | Self::DoesNotOpen { .. } | Self::Damaged { .. } => 1,
            _ => 2,
        }
    }
}
