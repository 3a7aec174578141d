//! The arguments of `ringbolt plan`.
//!
//! Invariant: credentials are taken from the environment only, as a command line can be seen by all.

use super::month::Month;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Plan capacity: how many nodes and drives, what binds first, when it is full, how long the drives live
///
/// From a workload and the hardware, both TOML files, and from what the engine was measured to cost. Every figure says
/// where it is from.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringbolt plan init                                  workload.toml and hardware.toml, to be edited
  ringbolt bench profile --drive /dev/nvme1n1 --allow-overwrite
                                                      drive-profile.json: what your drive really does
  ringbolt plan run --html plan.html                  the plan

Exit status: 0 done; 1 it could not be done; 2 the arguments or files are not understood, or make no sense.")]
pub struct PlanArgs {
    #[command(subcommand)]
    pub action: Action,
}

#[derive(Debug, Subcommand)]
pub enum Action {
    Init(InitArgs),
    Run(Box<RunArgs>),
}

/// Write workload.toml and hardware.toml: examples to edit, each key with its meaning
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringbolt plan init                          in the current directory
  ringbolt plan init --directory photos       in a directory, which is made

What the files say is an example. Change it to what you have and expect, then: ringbolt plan run")]
pub struct InitArgs {
    /// Where the files go
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub directory: PathBuf,
    /// Replace files that are there
    #[arg(long)]
    pub force: bool,
}

/// Make a plan
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringbolt plan run                                   workload.toml and hardware.toml of the current directory
  ringbolt plan run photos.toml dense.toml --html plan.html
                                                      other files; a page with plots too
  ringbolt plan run --set drives.count=12 --set growth.requests=5%
                                                      what if: any key of either file
  ringbolt plan run --sweep drives.size=7.68TB,15.36TB --sweep drives.count=8,12
                                                      all combinations, a row each; also with --csv and --json
  ringbolt plan run --json --output plan.json         to keep

Constants: --constants, else constants.json beside the hardware file; the report names the source of each.")]
pub struct RunArgs {
    /// What is stored and asked for [default: workload.toml]
    #[arg(value_name = "WORKLOAD.toml", requires = "hardware")]
    pub workload: Option<PathBuf>,
    /// The machines [default: hardware.toml]
    #[arg(value_name = "HARDWARE.toml")]
    pub hardware: Option<PathBuf>,
    /// What the engine costs: a file of `ringbolt plan calibrate`
    #[arg(long, value_name = "FILE")]
    pub constants: Option<PathBuf>,
    /// Instead of what a file says, as in drives.count=12; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Each of several values, as in drives.size=7.68TB,15.36TB; repeated: all combinations
    #[arg(long = "sweep", value_name = "KEY=VALUE,VALUE…", conflicts_with_all = ["html", "at"])]
    pub sweeps: Vec<String>,
    /// The plan as JSON, complete
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// A row for each month, or for each combination of --sweep
    #[arg(long)]
    pub csv: bool,
    /// A page with plots, in a file; in addition to the report
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// A file in place of standard output
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Look closely at this month too, as in 2027-06
    #[arg(long, value_name = "MONTH", conflicts_with_all = ["json", "csv"])]
    pub at: Option<Month>,
}
