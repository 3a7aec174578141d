//! This module defines the options of a whole run, as opposed to the keys of a job.
//!
//! Invariant: no option changes what a job does, only what is shown, where it goes, and which jobs
//! run.

use std::path::PathBuf;

/// This is a format of `--output-format`; several may be given at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    Normal,
    Json,
    /// Includes the bins of every histogram.
    JsonPlus,
    Terse,
}

/// Says when the progress line is shown on stderr (`--eta`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Eta {
    /// Shows the line when stderr is a terminal.
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// Holds each format once, in the order given; it is `normal` if none was given.
    pub output_formats: Vec<OutputFormat>,
    /// Names the file that replaces stdout (`--output`).
    pub output: Option<PathBuf>,
    /// This is the interval at which the results so far are printed (`--status-interval`).
    pub status_interval_ns: Option<u64>,
    pub eta: Eta,
    /// Names the HTML page that is written at the end (`--html`).
    pub html: Option<PathBuf>,
    /// Allows writing existing files and block devices (`--allow-overwrite`).
    pub allow_overwrite: bool,
    /// Names the only jobs to run (`--section`); an empty list runs all.
    pub sections: Vec<String>,
    /// Checks whether the jobs are valid, and runs nothing (`--parse-only`).
    pub parse_only: bool,
    /// Refuses jobs that write (`--readonly`).
    pub read_only: bool,
    /// Prints the job files as a command line, and runs nothing (`--showcmd`).
    pub show_command: bool,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            output_formats: vec![OutputFormat::Normal],
            output: None,
            status_interval_ns: None,
            eta: Eta::Auto,
            html: None,
            allow_overwrite: false,
            sections: Vec::new(),
            parse_only: false,
            read_only: false,
            show_command: false,
        }
    }
}
