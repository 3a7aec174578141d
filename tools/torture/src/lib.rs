//! This module is the command `ringbolt torture`: it kills a server (kill -9) again and again and
//! checks on the real drives that everything acknowledged is still there.
//!
//! This crate uses a server as anybody does, by its binary and over S3: it knows neither the engine nor the server's
//! code.
//!
//! Invariants:
//! - Only the server that this run started is killed, and only the drives that were named are written.
//! - The journals are outside of the drives; what must be stored follows from them alone.
//! - A finding ends the run at once, and leaves the drives and the journals as they are.
//! - With redundancy, no more drives are away or lack something than may be lost.

mod error;
mod failing;
mod journal;
mod report;
mod run;
mod set;
mod stack;
mod taken;
mod verify;
mod verify_versions;
mod writer;

pub use self::error::TortureError;
use self::report::Totals;
use clap::Args;
use ringbolt_tool_common::redundancy;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const BUCKET: &str = "torture";
/// This bucket keeps versions; some of the lives suspend that.
const VERSIONS: &str = "torture-versions";

/// Try a drive with kill -9: everything on it is lost
///
/// Formats the drive and serves it; writers put, overwrite and delete objects of all sizes, also in parts, and
/// write down each acknowledgement. The server is killed at random moments, also while it recovers or stops, and
/// started again; then what was acknowledged is read back byte by byte and compared, and the listing is held
/// against all of it. After a kill the keys changed since the last one and some others are read, at the end all.
/// A second bucket keeps versions: there every key's versions and delete markers must be listed in their order
/// and readable by their ids, whether versioning was enabled or suspended when they were written.
///
/// Several --drive are one set, as `ringbolt format` makes it of as many. Then drives are taken away at random, too,
/// never more at the same time than may be lost, and given back; they are brought up to date while the server serves,
/// and it is killed meanwhile as well. A drive is taken away in two ways: a start is without it, where the set has to
/// go on without the operator's word (from three drives on), or it fails under the server: a drive that is a file on
/// ext4, or a loop device over one, takes no writes for a while, by the attribute of chattr +i, which root alone may
/// set. What it holds stays. At the end all drives have to be whole, `ringbolt check --deep` must find nothing damaged,
/// and everything is read back without each drive in turn; of two drives, the other one is named as gone for good.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  ringbolt torture --drive /dev/nvme1n1 --minutes 60
  ringbolt torture --drive ./try --size 4GiB --cycles 200 --json
  ringbolt torture --drive /dev/nvme1n1 --drive /dev/nvme2n1 --drive /dev/nvme3n1 --minutes 60
                                                     a mirror, of which drives are lost and come back

Exit status: 0 nothing lost, 1 something acknowledged is lost or wrong (it says what), 2 the test could not go on.

A killed server is not a power cut: what the drive keeps in a volatile cache survives a kill. A run that is ended from
outside while a drive fails may leave its file unchangeable: chattr -i FILE.")]
pub struct TortureArgs {
    /// Block device or file; formatted, so everything on it is lost; repeat for each drive of the set
    #[arg(long, env = "RINGBOLT_DRIVE", required = true, value_name = "PATH", value_delimiter = ',')]
    pub drive: Vec<PathBuf>,
    /// Size of a file to make; a block device is used whole
    #[arg(long, env = "RINGBOLT_SIZE", value_name = "SIZE")]
    pub size: Option<String>,
    /// What is kept more than once, as `ringbolt format` has it [default: what that makes of as many drives]
    #[arg(long, env = "RINGBOLT_REDUNDANCY", value_name = "none|mirror|mirror-3|mirror-4|K+M",
        value_parser = parse_redundancy)]
    pub redundancy: Option<String>,
    /// Overwrite what is on the drives
    #[arg(long, env = "RINGBOLT_FORCE")]
    pub force: bool,
    /// Stop after this time [default: 10, unless --cycles is given]
    #[arg(long, env = "RINGBOLT_MINUTES", value_name = "NUMBER")]
    pub minutes: Option<u64>,
    /// Stop after this many kill cycles
    #[arg(long, env = "RINGBOLT_CYCLES", value_name = "NUMBER")]
    pub cycles: Option<u64>,
    /// Clients that write at the same time
    #[arg(long, env = "RINGBOLT_WRITERS", default_value_t = 8, value_name = "NUMBER",
        value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub writers: u64,
    /// Keys of each writer
    #[arg(long, env = "RINGBOLT_KEYS", default_value_t = 100, value_name = "NUMBER",
        value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub keys: u64,
    /// Longest time that the writers have before a kill
    #[arg(long, env = "RINGBOLT_KILL_AFTER_MS", default_value_t = 3000, value_name = "MILLISECONDS")]
    pub kill_after_ms: u64,
    /// Memory of the server
    #[arg(long, env = "RINGBOLT_MEMORY", default_value = "512MiB", value_name = "SIZE")]
    pub memory: String,
    /// Where the journals and the server's log go: not on a drive under test [default: the temporary directory]
    #[arg(long, env = "RINGBOLT_WORK", value_name = "DIR")]
    pub work: Option<PathBuf>,
    /// What is written follows from it, and which drives are taken away if the same happens; which moment a kill meets
    /// is up to the machine [default: random, and told]
    #[arg(long, env = "RINGBOLT_SEED", value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// One JSON object for each cycle and one at the end, on stdout
    #[arg(long, env = "RINGBOLT_JSON")]
    pub json: bool,
    /// The server to run: how the test of this test plants a loss [default: this program]
    #[arg(long, env = "RINGBOLT_PROGRAM", value_name = "PATH", hide = true)]
    pub program: Option<PathBuf>,
}

fn parse_redundancy(text: &str) -> Result<String, String> {
    match redundancy::parse(text) {
        Some(_) => Ok(text.trim().to_owned()),
        None => Err(format!("{text:?} is no redundancy; {}", redundancy::CHOICES)),
    }
}

impl TortureArgs {
    /// Returns how many drives may be lost at the same time.
    fn failures_max(&self) -> usize {
        let named =
            |text: &String| redundancy::parse(text).map(|(_, failures_max)| usize::from(failures_max));
        let by_default = || usize::from(redundancy::failures_max_of(self.drive.len()));
        self.redundancy.as_ref().and_then(named).unwrap_or_else(by_default)
    }

    fn minutes(&self) -> Option<Duration> {
        let minutes = self.minutes.or(if self.cycles.is_some() { None } else { Some(10) });
        minutes.map(|minutes| Duration::from_secs(60 * minutes))
    }
}

/// Runs the command and prints its result.
pub fn execute(args: &TortureArgs) -> ExitCode {
    match run::run(args, &mut |totals| show(args.json, totals)) {
        Ok(totals) => {
            show(args.json, &totals);
            eprintln!("Nothing acknowledged was lost.");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("ringbolt: {error}");
            ExitCode::from(error.exit_status())
        }
    }
}

fn show(json: bool, totals: &Totals) {
    match serde_json::to_string(totals) {
        Ok(text) if json => println!("{text}"),
        _ => println!("{}", totals.line()),
    }
}
