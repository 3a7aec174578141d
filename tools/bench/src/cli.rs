//! Options of a whole run, as opposed to keys of a job.
//!
//! Invariant: nothing here changes what a job does; only what is shown, where it goes, and which jobs run.

use std::path::PathBuf;

/// `--output-format`; several may be asked for at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    Normal,
    Json,
    /// With the bins of every histogram.
    JsonPlus,
    Terse,
}

/// `--eta`: the live line on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Eta {
    /// When stderr is a terminal.
    #[default]
    Auto,
    Always,
    Never,
}

/// What is asked of a run as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// In the order given, each once; `normal` when none was given.
    pub output_formats: Vec<OutputFormat>,
    /// `--output`: a file in place of stdout.
    pub output: Option<PathBuf>,
    /// `--status-interval`: results so far are printed each time so much has passed.
    pub status_interval_ns: Option<u64>,
    pub eta: Eta,
    /// `--html`: a page is written there at the end.
    pub html: Option<PathBuf>,
    /// `--allow-overwrite`: existing files and block devices may be written.
    pub allow_overwrite: bool,
    /// `--section`: only these jobs; empty: all.
    pub sections: Vec<String>,
    /// `--parse-only`: say whether the jobs are understood, and run nothing.
    pub parse_only: bool,
    /// `--readonly`: jobs that write are refused.
    pub read_only: bool,
    /// `--showcmd`: print the job files as a command line, and run nothing.
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
