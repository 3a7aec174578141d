//! This module is the command `ringbolt plan calibrate`: it measures the constants of the engine on
//! this machine.
//!
//! Invariants: what cannot work is refused before anything is measured. What is created is removed,
//! and the server is ended, also by a signal. Every figure names how and on what it was measured,
//! including those that could not be measured here.

mod busy;
mod check;
mod cleanup;
pub mod engine;
pub mod index;
pub mod requests;
pub mod space;
mod work;

use self::check::Refusal;
use self::cleanup::Cleanup;
use self::index::IndexCost;
use self::requests::{Place, RequestCosts, Turns};
use self::space::SpaceCosts;
use super::command::output::{Output, OutputError};
use super::constants::{Constant, Constants, SCHEMA, Source, VERSION};
use clap::Args;
use ringbolt_bench::layers::server::ServerError;
use ringbolt_bench::report::fingerprint;
use ringbolt_bench::spec::Plan as BenchPlan;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

const DRIVE_BYTES: u64 = 4 << 30;
/// Two servers have a drive each, and other files are written; this is more than the engine alone
/// needs before.
const DISK_BYTES: u64 = 2 * DRIVE_BYTES + (64 << 20);
/// This is the exit status when the arguments make no sense on this machine.
const REFUSED: u8 = 2;
/// The servers and the engine alone have one core; this is the number of shards per core on any
/// machine.
pub const SHARDS: u16 = 2;
/// This is the seed of all that is random in the measurements.
const SEED: u64 = 1;

/// Measure what requests and objects cost on this machine: CPU time, memory of the index, space, the cleaner
///
/// Fills and overwrites drive files of 2 and 4 GiB with the engine alone, then starts two servers of its own on
/// loopback with 4 GiB each and asks them from another core, and removes all: 8 GiB of disk, about three minutes, and
/// the time to write the files.
#[derive(Args, Debug, Clone)]
#[command(after_help = "Examples:
  ringbolt plan calibrate                                in the current directory, to ./constants.json
  ringbolt plan calibrate --directory /mnt/nvme          on the file system of that drive
  ringbolt plan calibrate --server-core 2 --client-core 3 --seconds 10

Let nothing else run meanwhile: other programs on the same cores make requests look dearer; if they do, it is said.
On a virtual machine whose host is restless take more turns: --turns 15. Ctrl-C ends it and removes what it made.
Then: ringbolt plan run --constants constants.json

Exit status: 0 done; 1 it could not be done; 2 it can not be done so here; 128 and more: ended by a signal.")]
pub struct CalibrateArgs {
    /// Where the drive files are made; its file system must take direct I/O
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub directory: PathBuf,
    /// Where the constants are written; - is stdout
    #[arg(long, default_value = "constants.json", value_name = "FILE")]
    pub output: PathBuf,
    /// How often each point is measured, in turns; the median counts
    #[arg(long, default_value_t = 5, value_name = "TURNS", value_parser = clap::value_parser!(u64).range(1..=100))]
    pub turns: u64,
    /// Measured seconds of each of the fifteen points, in each turn
    #[arg(long, default_value_t = 1, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// The ringbolt program to serve with [default: this one]
    #[arg(long, value_name = "PATH")]
    pub server: Option<PathBuf>,
    /// CPU of the server
    #[arg(long, default_value_t = 0, value_name = "CPU")]
    pub server_core: usize,
    /// CPU of the client
    #[arg(long, default_value_t = 1, value_name = "CPU")]
    pub client_core: usize,
}

/// Says why there are no constants.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    #[error("{path}: {error}")]
    File { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("{title}: {what}")]
    Point { title: String, what: String },
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("signals can not be caught: {0}")]
    Signals(io::Error),
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error("the engine on a drive file: {0}")]
    Engine(#[from] engine::Failure),
}

/// Executes the command and returns its exit status.
pub fn execute(args: &CalibrateArgs) -> ExitCode {
    let cleanup = match Cleanup::watch().map_err(CalibrateError::Signals) {
        Ok(cleanup) => cleanup,
        Err(error) => return failed(&error),
    };
    let done = measure_and_write(args, &cleanup);
    cleanup.hold_if_interrupted();
    done.map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
}

fn failed(error: &CalibrateError) -> ExitCode {
    eprintln!("ringbolt plan calibrate: {error}");
    match error {
        CalibrateError::Refused(_) => ExitCode::from(REFUSED),
        _ => ExitCode::FAILURE,
    }
}

fn measure_and_write(args: &CalibrateArgs, cleanup: &Cleanup) -> Result<(), CalibrateError> {
    // Minutes of measuring come later: the destination of the result is checked first.
    let output = Output::to(Some(&args.output))?;
    if let Some(path) = output.temporary() {
        cleanup.add(path);
    }
    write(&calibrate(args, cleanup)?, output, &args.output)
}

fn write(constants: &Constants, output: Output, path: &Path) -> Result<(), CalibrateError> {
    output.write(&constants.to_json())?;
    if path == Path::new("-") {
        return Ok(());
    }
    for (name, constant) in constants.all() {
        println!("{name:28} {:10.2}", constant.value);
    }
    println!("written to {}", path.display());
    Ok(())
}

/// Makes all measurements.
fn calibrate(args: &CalibrateArgs, cleanup: &Cleanup) -> Result<Constants, CalibrateError> {
    let refused = |path: &Path| {
        let path = path.to_owned();
        move |error| CalibrateError::File { path, error }
    };
    let server = args.server.clone().map_or_else(std::env::current_exe, Ok);
    let place = Place {
        server: server.map_err(refused(Path::new("this program")))?,
        server_core: args.server_core,
        client_core: args.client_core,
        seconds: args.seconds,
    };
    check::check(args, &place.server)?;
    let before = busy::watch([args.server_core, args.client_core]);
    let warning = busy::warning(&before);
    if let Some(warning) = &warning {
        eprintln!("ringbolt plan calibrate: {warning}");
    }
    let directory = || cleanup.directory(&args.directory).map_err(refused(&args.directory));
    eprintln!("calibrate: index");
    let index = index::measure(SEED);
    // Each measurement has a directory of its own, so that the drives of one are removed before the
    // next creates its own.
    let space = space::measure(directory()?.path(), args.client_core, SEED, index.checkpoint_share)?;
    let drives = directory()?;
    let mut turns = Turns::start(&place, drives.path(), DRIVE_BYTES)?;
    for _ in 0..args.turns {
        turns.take(None)?;
    }
    let requests = turns.costs();
    let found = fingerprint::gather(&BenchPlan::default(), &[]).0;
    let mut fingerprint: BTreeMap<String, String> =
        found.into_iter().filter(|(name, _)| name != "command").collect();
    fingerprint.insert("busy before".to_owned(), busy::in_words(&before));
    let found = constants(&index, &requests, &space, fingerprint);
    let (constants, names) = busy::replace_nothing(found, &Constants::shipped());
    if !names.is_empty() {
        eprintln!(
            "ringbolt plan calibrate: {}: came out at nothing, as the machine had something else to do{}. The file has \
             what comes with the program in their place, with its source. Let nothing else run, or take more --turns, \
             and calibrate again.",
            names.join(", "),
            warning.map_or_else(String::new, |warning| format!(" ({warning})"))
        );
    }
    Ok(constants)
}

/// Returns the constants, each with how it was measured.
fn constants(
    index: &IndexCost,
    requests: &RequestCosts,
    space: &SpaceCosts,
    fingerprint: BTreeMap<String, String>,
) -> Constants {
    let source = Sources::here(&fingerprint);
    let by_index = |value| source.of(value, "400,000 objects in the engine's index, in random order");
    let by_requests = |value, how: &str| source.of(value, how);
    Constants {
        schema: SCHEMA.to_owned(),
        version: VERSION,
        created_unix_ms: source.unix_ms,
        index_bytes_per_object: by_index(index.bytes_per_object),
        index_bytes_per_key_byte: by_index(index.bytes_per_key_byte),
        checkpoint_share_of_index: by_index(index.checkpoint_share),
        put_cpu_us: by_requests(requests.put.request, "signed PUTs of 4 and 64 KiB"),
        put_cpu_us_per_mib: by_requests(requests.put.mib, "signed PUTs of 4 and 64 KiB"),
        put_large_cpu_us: by_requests(requests.put_large.request, "signed PUTs of 128 KiB and 4 MiB"),
        put_large_cpu_us_per_mib: by_requests(requests.put_large.mib, "signed PUTs of 128 KiB and 4 MiB"),
        get_cpu_us: by_requests(requests.get.request, "signed GETs of 4 and 64 KiB from the drive"),
        get_cpu_us_per_mib: by_requests(requests.get.mib, "signed GETs of 4 and 64 KiB from the drive"),
        get_large_cpu_us: by_requests(requests.get_large.request, "signed GETs of 128 KiB and 4 MiB"),
        get_large_cpu_us_per_mib: by_requests(requests.get_large.mib, "signed GETs of 128 KiB and 4 MiB"),
        get_cached_cpu_us: by_requests(requests.get_cached, "signed GETs of 4 KiB from the read cache"),
        head_cpu_us: by_requests(requests.head, "signed HEADs"),
        delete_cpu_us: by_requests(requests.delete, "signed PUTs and DELETEs by turns, less the PUTs"),
        commit_cpu_us: by_requests(
            requests.commit,
            "PUTs of 4 KiB alone and among three times as many GETs, with fewer in a group commit",
        ),
        commit_us: by_requests(requests.commit_time, "signed PUTs of 4 KiB one after the other, on this drive"),
        commit_busy_us: by_requests(
            requests.commit_time_busy,
            "signed PUTs of 4 KiB, 128 in flight, on this drive: two shards, their core busy",
        ),
        list_cpu_us: by_requests(requests.list, "signed LISTs of 10 and of 1,000 keys"),
        list_cpu_us_per_key: by_requests(requests.list_per_key, "signed LISTs of 10 and of 1,000 keys"),
        slice_alignment_factor: source.of(
            space.large.alignment,
            "the engine alone: objects of 64 KiB to 5 MiB; live bytes over whole units and records",
        ),
        slice_tail_gaps_share: source.of(
            space.large.tail_gaps,
            "the engine alone: objects of 64 KiB to 5 MiB on a drive that is nearly full, all overwritten by others four times",
        ),
        log_bytes_factor: source.of(
            space.small.log,
            "the engine alone: objects of 16 KiB; bytes of the log over records, headers and half blocks",
        ),
        moved_bytes_factor: source.of(
            space.small.cleaner,
            "the engine alone: objects of 16 KiB overwritten, 70% live; bytes moved over the formula of the cleaner",
        ),
        clean_cpu_us_per_mib: source.of(
            space.small.clean_cpu_us_per_mib,
            "the engine alone: objects of 16 KiB overwritten, 70% live, less what it takes without the cleaner",
        ),
        fingerprint,
    }
}

/// Describes this machine and the current time.
struct Sources {
    machine: String,
    unix_ms: u64,
}

impl Sources {
    fn here(fingerprint: &BTreeMap<String, String>) -> Self {
        let named = ["cpu", "kernel", "ringbolt"].into_iter();
        let words = named.filter_map(|name| fingerprint.get(name).map(|value| format!("{name} {value}")));
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { machine: words.collect::<Vec<_>>().join(", "), unix_ms: since.as_millis() as u64 }
    }

    fn of(&self, value: f64, how: &str) -> Constant {
        let source =
            Source::Measured { how: how.to_owned(), machine: self.machine.clone(), unix_ms: self.unix_ms };
        Constant { value, source }
    }
}
