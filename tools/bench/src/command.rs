//! This module is the command `ringbolt bench`: it dispatches on the arguments and returns the exit
//! status.
//!
//! Invariant: results go to stdout or to the file that was named, everything else to stderr.

use super::cli::RunOptions;
use super::job::command_line::parse;
use super::job::{Action, CommandLine, JobError, Refusals, Surroundings, check_credentials, help, show};
use super::layers;
use super::manual::MANUAL;
use super::profile;
use super::report::{self, html, logs};
use super::result::Run;
use super::run::{self, RunError};
use super::watch::Screen;
use clap::Args;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// This is the exit status when jobs are not valid or must not run.
const NOT_RUN: u8 = 2;
/// This is the exit status when a signal ended the run, as in fio.
pub const INTERRUPTED: u8 = 128;

/// Says why a command failed.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Job(#[from] JobError),
    #[error(transparent)]
    Jobs(#[from] Refusals),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("results can not be written to {}: {error}", .path.display())]
    Output { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Logs(#[from] logs::LogError),
}

impl CommandError {
    fn status(&self) -> ExitCode {
        match self {
            Self::Job(_) | Self::Jobs(_) | Self::Run(_) => ExitCode::from(NOT_RUN),
            Self::Output { .. } | Self::Logs(_) => ExitCode::FAILURE,
        }
    }
}

/// Executes the arguments after `ringbolt bench`.
pub fn execute(arguments: &[OsString]) -> ExitCode {
    let (first, rest) = match arguments {
        [first, rest @ ..] => (first.to_str(), rest),
        [] => (None, arguments),
    };
    match first {
        Some("compare") => sub("ringbolt bench compare", rest, report::compare::execute),
        Some("layers") => sub("ringbolt bench layers", rest, layers::execute),
        Some("profile") => sub("ringbolt bench profile", rest, profile::execute),
        _ => jobs(arguments).unwrap_or_else(|error| {
            eprintln!("ringbolt bench: {error}");
            error.status()
        }),
    }
}

fn sub<T: Args>(name: &'static str, arguments: &[OsString], body: impl FnOnce(&T) -> ExitCode) -> ExitCode {
    let command = subcommand::<T>(name);
    let words = std::iter::once(OsString::from(name)).chain(arguments.iter().cloned());
    let matches = match command.try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) => {
            // If the message cannot be written, nobody can be told.
            _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(NOT_RUN));
        }
    };
    match <T as clap::FromArgMatches>::from_arg_matches(&matches) {
        Ok(arguments) => body(&arguments),
        Err(error) => {
            _ = error.print();
            ExitCode::from(NOT_RUN)
        }
    }
}

/// Returns a subcommand whose arguments clap parses, with the documentation of `T` as its help.
fn subcommand<T: Args>(name: &'static str) -> clap::Command {
    T::augment_args(clap::Command::new(name).bin_name(name))
}

fn jobs(arguments: &[OsString]) -> Result<ExitCode, CommandError> {
    let line = parse(arguments, &Surroundings::of_process())?;
    match &line.action {
        Action::Help => say(MANUAL)?,
        Action::Version => say(concat!("ringbolt bench ", env!("CARGO_PKG_VERSION"), "\n"))?,
        Action::KeyHelp(None) => say(&help::keys())?,
        Action::KeyHelp(Some(key)) => say(&help::key(key)?)?,
        Action::EngineHelp(engine) => say(&help::engines(engine.as_deref())?)?,
        Action::Run if line.options.show_command => show_command(&line)?,
        Action::Run if line.options.parse_only => say(&format!("{}: OK\n", counted(line.plan.jobs.len())))?,
        Action::Run => return run_jobs(&line),
    }
    Ok(ExitCode::SUCCESS)
}

fn counted(jobs: usize) -> String {
    if jobs == 1 { "1 job".to_owned() } else { format!("{jobs} jobs") }
}

fn show_command(line: &CommandLine) -> Result<(), CommandError> {
    let (text, left_out) = show::command_line(&line.sections);
    if !left_out.is_empty() {
        eprintln!("left out, as a command line can be seen by all: {}", left_out.join(", "));
    }
    say(&format!("{text}\n"))
}

fn say(text: &str) -> Result<(), CommandError> {
    let wrong = |error| CommandError::Output { path: PathBuf::from("stdout"), error };
    match io::stdout().write_all(text.as_bytes()) {
        // The reader has closed the pipe, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(wrong),
    }
}

fn run_jobs(line: &CommandLine) -> Result<ExitCode, CommandError> {
    for warning in &line.warnings {
        eprintln!("ringbolt bench: {warning}");
    }
    check_credentials(&line.plan)?;
    // The check comes before the output is opened, which may create the file.
    run::check_places(&line.plan, &line.options).map_err(RunError::from)?;
    let mut output = Output::open(&line.options)?;
    let run = run::run(&line.plan, &line.options, &mut Screen::new(&line.plan, &line.options, &mut output))?;
    output.report(&run, &line.options)?;
    logs::write(&run, Path::new("."))?;
    if let Some(path) = &line.options.html {
        html::write(&run, path).map_err(|error| CommandError::Output { path: path.clone(), error })?;
    }
    if run.interrupted {
        eprintln!("ringbolt bench: interrupted; the results are of what was done until then");
    }
    let failed = run.jobs.iter().any(|result| result.error != 0 || result.verify_failures > 0);
    Ok(match (failed, run.interrupted) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(INTERRUPTED),
        (false, false) => ExitCode::SUCCESS,
    })
}

/// This is the destination of results.
pub struct Output {
    path: PathBuf,
    writer: Box<dyn Write>,
}

impl Output {
    fn open(options: &RunOptions) -> Result<Self, CommandError> {
        let Some(path) = &options.output else {
            return Ok(Self { path: PathBuf::from("stdout"), writer: Box::new(io::stdout()) });
        };
        // The file is opened before the run, so that an hour of measuring does not end at a missing
        // directory.
        let file = std::fs::File::create(path)
            .map_err(|error| CommandError::Output { path: path.clone(), error })?;
        Ok(Self { path: path.clone(), writer: Box::new(file) })
    }

    fn report(&mut self, run: &Run, options: &RunOptions) -> Result<(), CommandError> {
        report::write(run, &options.output_formats, &mut *self.writer)
            .map_err(|error| CommandError::Output { path: self.path.clone(), error })
    }

    /// Writes the results so far; if that fails, they are written again at the end.
    pub fn interim(&mut self, run: &Run, options: &RunOptions) {
        if let Err(error) = self.report(run, options) {
            eprintln!("ringbolt bench: {error}");
        }
    }
}

#[cfg(test)]
mod tests;
