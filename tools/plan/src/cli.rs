//! This module defines the arguments of `ringbolt plan`.
//!
//! Invariant: credentials are taken only from the environment, because everybody can see a command
//! line.

use super::calibrate::CalibrateArgs;
use super::month::Month;
use clap::builder::RangedI64ValueParser;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Parses how long a node is watched.
fn seconds() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=86_400)
}

/// Plan capacity: how many nodes and drives, what binds first, when it is full, how long the drives live
///
/// From a workload and the hardware, both TOML files, and from what the engine was measured to cost. Every figure says
/// where it is from.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringbolt plan init                                  workload.toml and hardware.toml, to be edited
  ringbolt plan scan --endpoint http://127.0.0.1:9000 --bucket photos
                                                      sizes.json: how large your objects really are
  ringbolt bench profile --drive /dev/nvme1n1 --allow-overwrite
                                                      drive-profile.json: what your drive really does
  ringbolt plan calibrate                             constants.json: what the engine costs on this machine
  ringbolt plan run --html plan.html                  the plan

Exit status: 0 done; 1 it could not be done; 2 the arguments or files are not understood, or make no sense.")]
pub struct PlanArgs {
    #[command(subcommand)]
    pub action: Action,
}

#[derive(Debug, Subcommand)]
pub enum Action {
    Init(InitArgs),
    Scan(ScanArgs),
    Calibrate(CalibrateArgs),
    Run(Box<RunArgs>),
    Diff(DiffArgs),
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

/// Learn the sizes of stored objects: from any S3 server, an S3 Inventory, or a listing
///
/// Reads names and sizes only, never an object. The result names no key.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… ringbolt plan scan --endpoint https://s3.example.org --bucket photos
                                              any S3 server, with signed requests
  ringbolt plan scan --inventory manifest.json --inventory part-1.csv.gz --inventory part-2.csv.gz
                                              S3 Inventory, in CSV; the manifest tells its columns
  ringbolt plan scan --inventory part-1.csv --columns 'Bucket, Key, Size'
  ringbolt plan scan --inventory part-1.parquet --inventory part-2.parquet
                                              in Parquet, which tells its columns itself
  aws s3 ls --recursive s3://photos | ringbolt plan scan --listing -
                                              the listing as text, exact sizes: without --human-readable

Then write in workload.toml, below [objects]: scan = \"sizes.json\"

Credentials: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or RINGBOLT_ACCESS_KEY and
RINGBOLT_SECRET_KEY.")]
#[command(group(clap::ArgGroup::new("source").required(true).args(["endpoint", "inventory", "listing"])))]
pub struct ScanArgs {
    /// URL of an S3 server
    #[arg(long, value_name = "URL", requires = "bucket")]
    pub endpoint: Option<String>,
    /// Which bucket to list
    #[arg(long, value_name = "NAME", requires = "endpoint")]
    pub bucket: Option<String>,
    /// Only keys that begin with this
    #[arg(long, value_name = "PREFIX", requires = "endpoint", default_value = "", hide_default_value = true)]
    pub prefix: String,
    /// The region that requests are signed for
    #[arg(long, value_name = "REGION", requires = "endpoint", default_value = "us-east-1")]
    pub region: String,
    /// S3 Inventory: CSV, also with .gz, or Parquet, or its manifest.json; repeat for each file
    #[arg(long, value_name = "FILE")]
    pub inventory: Vec<PathBuf>,
    /// Columns of CSV, as its fileSchema names them [default: of the manifest, or the line of names]
    #[arg(long, value_name = "LIST", requires = "inventory")]
    pub columns: Option<String>,
    /// Text of `aws s3 ls --recursive`; - is standard input
    #[arg(long, value_name = "FILE")]
    pub listing: Option<PathBuf>,
    /// Where the sizes go; - is standard output
    #[arg(long, default_value = "sizes.json", value_name = "FILE")]
    pub output: PathBuf,
}

/// Make a plan
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringbolt plan run                                   workload.toml and hardware.toml of the current directory
  ringbolt plan run photos.toml dense.toml --html plan.html
                                                      other files; a page with plots too
  ringbolt plan run --set drives.count=12 --set growth.requests_per_month=5%
                                                      what if: any key of either file
  ringbolt plan run --sweep drives.size=7.68TB,15.36TB --sweep drives.count=8,12
                                                      all combinations, a row each; also with --csv and --json
  ringbolt plan run --drives 6 --redundancy 4+2       stripes on the drives of each node
  ringbolt plan run --sweep redundancy.format=none,mirror,4+2
                                                      what copies and stripes cost, and what they save
  ringbolt plan run --live http://127.0.0.1:9001      objects, bytes and rates as a running node has them now
  ringbolt plan run --live http://127.0.0.1:9001 --device /dev/nvme0
                                                      and the wear of its drive, by nvme-cli or smartctl
  ringbolt plan run --json --output plan.json         to keep, and for `ringbolt plan diff`

Constants: --constants, else constants.json beside the hardware file, else those that come with the program,
measured on another machine. The report names the source of each.")]
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
    /// How many drives a node has, in place of drives.count of the file
    #[arg(long, env = "RINGBOLT_DRIVES", value_name = "NUMBER")]
    pub drives: Option<String>,
    /// How its drives are formatted, in place of redundancy.format: as `ringbolt format` is told, or default, which is
    /// what it makes of as many drives
    #[arg(long, env = "RINGBOLT_REDUNDANCY", value_name = "none|mirror|mirror-3|mirror-4|K+M|default")]
    pub redundancy: Option<String>,
    /// Instead of what a file says, as in drives.count=12; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Each of several values, as in drives.size=7.68TB,15.36TB; repeated: all combinations
    #[arg(long = "sweep", value_name = "KEY=VALUE,VALUE…", conflicts_with_all = ["html", "at"])]
    pub sweeps: Vec<String>,
    /// Take objects, what is live for each, and request rates from this node in place of the workload's
    #[arg(long, value_name = "URL")]
    pub live: Option<String>,
    /// A drive whose wear counts for all drives; repeated, that of the most worn
    ///
    /// It is read on this machine, by nvme (nvme-cli) or smartctl, and mostly needs root: run it on the node.
    #[arg(long = "device", value_name = "PATH", requires = "live")]
    pub devices: Vec<PathBuf>,
    /// How long the rates of --live are watched
    #[arg(long, default_value_t = 10, value_name = "SECONDS", requires = "live", value_parser = seconds())]
    pub seconds: u32,
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

/// Compare a plan with what a running node does
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringbolt plan diff plan.json --live http://127.0.0.1:9001
  ringbolt plan diff plan.json --live http://127.0.0.1:9001 --seconds 60 --device /dev/nvme0
                                              rates over a minute; wear as the drive itself counts it

The plan is a file of `ringbolt plan run --json`. Rates are compared with the mean of a day: watch a typical hour.
Wear is read by nvme (nvme-cli) or smartctl, where they are installed, and mostly needs root.")]
pub struct DiffArgs {
    /// A file of `ringbolt plan run --json`
    #[arg(value_name = "PLAN.json")]
    pub plan: PathBuf,
    /// The node
    #[arg(long, value_name = "URL")]
    pub live: String,
    /// How long its rates are watched
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = seconds())]
    pub seconds: u32,
    /// A drive of the node whose wear is read; repeat for each
    #[arg(long = "device", value_name = "PATH")]
    pub devices: Vec<PathBuf>,
    /// JSON instead of text
    #[arg(long)]
    pub json: bool,
    /// A file in place of standard output
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}
