//! This module is the command `ringbolt plan`: it dispatches on the arguments and returns the exit
//! status.
//!
//! Invariants: results go to standard output or to the file that was named, everything else to
//! stderr. A result replaces a file only when it is complete. Whether it can be written is checked
//! before anything that takes long.

mod diff;
mod init;
pub(super) mod output;
mod run;
mod scan;

use self::output::OutputError;
use super::calibrate;
use super::cli::{Action, PlanArgs};
use super::constants::ConstantsError;
use super::input::InputError;
use super::live::LiveError;
use super::model::ModelError;
use super::month::Month;
use super::result::PlanFileError;
use super::scan::error::ScanError;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// This is the exit status when arguments or files are not valid.
const NOT_UNDERSTOOD: u8 = 2;

/// Says why a command failed.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(
        "{} is not there; `ringbolt plan init` makes an example, or name the files: run WORKLOAD.toml \
         HARDWARE.toml",
        .0.display()
    )]
    NoFile(PathBuf),
    #[error("{}: {error}", .path.display())]
    Constants { path: PathBuf, error: ConstantsError },
    #[error("with {combination}: {error}")]
    Combination { combination: String, error: Box<CommandError> },
    #[error(
        "--at {month}: the plan goes from {first} to {last}; take a month of these, or change plan.months"
    )]
    Month { month: Month, first: Month, last: Month },
    #[error("{} exists; give --force to replace it, or another --directory", .0.display())]
    Exists(PathBuf),
    #[error("{}: {error}", .path.display())]
    Plan { path: PathBuf, error: PlanFileError },
    #[error("{} can not be read: {error}", .path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Scan(#[from] ScanError),
    #[error(transparent)]
    Live(#[from] LiveError),
    #[error(
        "--set {0} with --live or --device: the node's own figure stands in place of what is set; leave one of them out"
    )]
    SetAndLive(String),
    #[error("{}: {error}", .path.display())]
    File { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl CommandError {
    fn status(&self) -> u8 {
        match self {
            Self::Input(_) | Self::Model(_) | Self::NoFile(_) | Self::Constants { .. } => NOT_UNDERSTOOD,
            Self::Month { .. } | Self::Exists(_) => NOT_UNDERSTOOD,
            Self::Plan { .. } | Self::Unreadable { .. } | Self::SetAndLive(_) => NOT_UNDERSTOOD,
            Self::Scan(error) if is_misunderstood(error) => NOT_UNDERSTOOD,
            Self::Live(LiveError::Url(_) | LiveError::Seconds(_) | LiveError::Device { .. }) => {
                NOT_UNDERSTOOD
            }
            Self::Combination { error, .. } => error.status(),
            Self::Scan(_) | Self::Live(_) | Self::File { .. } | Self::Output(_) => 1,
        }
    }
}

/// Returns whether the arguments or a file are the reason, rather than a server.
fn is_misunderstood(error: &ScanError) -> bool {
    match error {
        ScanError::Endpoint { .. } | ScanError::Bucket(_) | ScanError::HalfCredentials(..) => true,
        ScanError::NoFiles | ScanError::Columns { .. } => true,
        ScanError::Read { .. } | ScanError::Line { .. } | ScanError::File { .. } => true,
        ScanError::Http(_) | ScanError::Server { .. } | ScanError::Page { .. } => false,
        ScanError::Circle { .. } | ScanError::SameToken(_) | ScanError::EmptyPages(_) => false,
        ScanError::Collect(_) => false,
    }
}

/// Executes the arguments after `ringbolt plan`.
pub fn execute(args: &PlanArgs) -> ExitCode {
    let done = match &args.action {
        Action::Init(args) => init::init(args),
        Action::Scan(args) => scan::scan(args),
        Action::Calibrate(args) => return calibrate::execute(args),
        Action::Run(args) => run::run(args),
        Action::Diff(args) => diff::diff(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringbolt plan: {error}");
            ExitCode::from(error.status())
        }
    }
}

fn now_unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests;
