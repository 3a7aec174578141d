//! This module is the command `ringbolt bench profile`: it measures what a drive can do, and writes
//! a file that `ringbolt plan` reads.
//!
//! Invariant: the time is scheduled before anything is measured, and what does not fit is reported,
//! also in the profile. Existing files and devices are written only with `--allow-overwrite`, and a
//! mounted device never; `run` enforces both.

mod measure;
mod schedule;
pub mod schema;
mod summary;

use self::measure::{MeasureError, Target};
use self::schedule::{LOADS_PERCENT, Schedule, has_settled};
use self::schema::{Drive, DriveProfile, Rate, SCHEMA, VERSION};
use crate::command::INTERRUPTED;
use crate::job::Surroundings;
use crate::job::units::Units;
use crate::report::fingerprint;
use crate::run::Interrupts;
use clap::Args;
use std::io::Write;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A file that is created has this size.
const FILE_BYTES: u64 = 4 << 30;
/// A smaller region says nothing about the drive.
const TESTED_BYTES_MIN: u64 = 64 << 20;
const WINDOW_S_MIN: f64 = 2.0;
const WINDOWS_MAX: f64 = 20.0;

/// Measure a drive: rates, latency at load, flushes, sustained writes; into a JSON that `ringbolt plan` reads
///
/// Writes to the drive: what is on it is lost. A file that does not exist is made.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringbolt bench profile --drive /dev/nvme1n1 --allow-overwrite --minutes 30 --output nvme1n1.json
                                              a whole device: everything on it is lost
  ringbolt bench profile --drive ./probe      a file that is made for it, 4 GiB

The shorter the time, the fewer points: what was left out is said and is in the profile. Reads of places that
were never written are faster than others on most drives: the file is written in full first, a device is not.")]
pub struct ProfileArgs {
    /// Block device or file
    #[arg(long, value_name = "PATH")]
    drive: PathBuf,
    /// Time to take, without that of making a file
    #[arg(long, default_value_t = 10.0, value_name = "MINUTES")]
    minutes: f64,
    /// Where the profile goes
    #[arg(long, default_value = "drive-profile.json", value_name = "FILE")]
    output: PathBuf,
    /// Measure only the first SIZE bytes; the size of a file that is made [default: all, or 4 GiB]
    #[arg(long, value_name = "SIZE", value_parser = tested_bytes)]
    size: Option<u64>,
    /// Write to a device or to a file that exists: what is on it is lost
    #[arg(long)]
    allow_overwrite: bool,
}

/// Says why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileFailure {
    #[error("--minutes {0}: between 1 and 1440")]
    Minutes(f64),
    #[error("{path} exists and would be overwritten; give --allow-overwrite if that is meant")]
    Exists { path: PathBuf },
    #[error(
        "{path}: {bytes} bytes are to be measured, the least is {TESTED_BYTES_MIN}: give a larger --size"
    )]
    Small { path: PathBuf, bytes: u64 },
    #[error("{path} is neither a file nor a block device")]
    Kind { path: PathBuf },
    #[error("{path}: {error}")]
    File { path: PathBuf, error: std::io::Error },
    #[error("{what}: {error}")]
    Measure { what: String, error: MeasureError },
}

/// Executes the command and returns its exit status.
pub fn execute(args: &ProfileArgs) -> ExitCode {
    match profile(args, &mut |line| eprintln!("{line}")) {
        Ok(profile) => {
            print!("{}", summary::text(&profile));
            println!("\nThe profile is in {}.", args.output.display());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("ringbolt bench profile: {failure}");
            match failure {
                ProfileFailure::Measure { error: MeasureError::Interrupted, .. } => {
                    ExitCode::from(INTERRUPTED)
                }
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// Measures the drive and writes the file; `tell` receives lines about the progress.
///
/// # Errors
/// Returns a [`ProfileFailure`].
pub fn profile(args: &ProfileArgs, tell: &mut dyn FnMut(&str)) -> Result<DriveProfile, ProfileFailure> {
    if !(1.0..=1440.0).contains(&args.minutes) {
        return Err(ProfileFailure::Minutes(args.minutes));
    }
    let interrupts = Interrupts::catch()
        .map_err(|error| ProfileFailure::Measure { what: "signals".to_owned(), error: error.into() })?;
    let drive = look_at(args)?;
    let is_new = !args.drive.exists();
    if !is_new && !args.allow_overwrite {
        return Err(ProfileFailure::Exists { path: args.drive.clone() });
    }
    // This fails now rather than after an hour. An earlier profile is replaced only by a complete
    // one.
    let failed = |error| ProfileFailure::File { path: args.output.clone(), error };
    let beside = args.output.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut output = tempfile::NamedTempFile::new_in(beside.unwrap_or(Path::new("."))).map_err(failed)?;
    let target = Target {
        path: args.drive.clone(),
        tested_bytes: drive.tested_bytes,
        // A file created here exists from the first measurement on.
        allow_overwrite: true,
        stop: interrupts.stop.clone(),
    };
    let schedule = Schedule::of(args.minutes);
    let mut progress = Progress { tell, began: Instant::now(), seconds: schedule.seconds(), spent: 0.0 };
    let mut profile = DriveProfile {
        schema: SCHEMA.into(),
        version: VERSION,
        created_unix_ms: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64),
        fingerprint: fingerprint::gather(&target.plan(), &[]).0.into_iter().collect(),
        drive,
        rates: Vec::new(),
        latency_at_load: Vec::new(),
        flush: None,
        sustained_write: None,
        left_out: schedule.left_out.clone(),
    };
    let outcome = fill(&mut profile, &target, &schedule, &mut progress);
    if is_new {
        // A file that was created for the measurement is removed; it does not matter if it was
        // never created.
        let _ = std::fs::remove_file(&args.drive);
    }
    outcome?;
    output.write_all(profile.to_json().as_bytes()).map_err(failed)?;
    output.persist(&args.output).map_err(|error| failed(error.error))?;
    Ok(profile)
}

fn look_at(args: &ProfileArgs) -> Result<Drive, ProfileFailure> {
    let path = &args.drive;
    let failed = |error| ProfileFailure::File { path: path.clone(), error };
    let (kind, size_bytes) = match std::fs::metadata(path) {
        Ok(found) if found.is_file() => ("file", found.len()),
        Ok(found) if found.file_type().is_block_device() => {
            ("block_device", device_bytes(path).map_err(failed)?)
        }
        Ok(_) => return Err(ProfileFailure::Kind { path: path.clone() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            ("file", args.size.unwrap_or(FILE_BYTES))
        }
        Err(error) => return Err(failed(error)),
    };
    let tested_bytes = args.size.unwrap_or(size_bytes).min(size_bytes) >> 20 << 20;
    if tested_bytes < TESTED_BYTES_MIN {
        return Err(ProfileFailure::Small { path: path.clone(), bytes: tested_bytes });
    }
    Ok(Drive { path: path.display().to_string(), kind: kind.into(), size_bytes, tested_bytes })
}

fn device_bytes(path: &Path) -> std::io::Result<u64> {
    use std::io::{Seek, SeekFrom};
    std::fs::File::open(path)?.seek(SeekFrom::End(0))
}

/// Prints lines with the time that is left.
struct Progress<'a> {
    tell: &'a mut dyn FnMut(&str),
    began: Instant,
    /// This is the scheduled time of everything; `spent` is that of what is done.
    seconds: f64,
    spent: f64,
}

impl Progress<'_> {
    fn step(&mut self, what: &str, seconds: f64) {
        let share = self.spent / self.seconds;
        // The estimate follows the schedule at first, and the time taken later.
        let left = if share > 0.05 {
            self.began.elapsed().as_secs_f64() / share * (1.0 - share)
        } else {
            self.seconds - self.spent
        };
        let left = Duration::from_secs_f64(left.max(0.0)).as_secs();
        (self.tell)(&format!("[{:3.0}%, {}m{:02}s left] {what}", share * 100.0, left / 60, left % 60));
        self.spent += seconds;
    }
}

fn fill(
    profile: &mut DriveProfile,
    target: &Target,
    schedule: &Schedule,
    progress: &mut Progress<'_>,
) -> Result<(), ProfileFailure> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error| ProfileFailure::Measure { what, error }
    };
    for point in &schedule.points {
        let order = if point.random { "random" } else { "sequential" };
        let what = format!(
            "{order} {} KiB, depth {}, {}% reads",
            point.block_bytes >> 10,
            point.depth,
            point.read_percent
        );
        progress.step(&what, schedule.point_s);
        profile.rates.push(target.rate(point, schedule.point_s).map_err(failed(&what))?);
    }
    for read_percent in [100, 0] {
        let highest = highest_iops(&profile.rates, read_percent);
        for load_percent in LOADS_PERCENT {
            let what = format!("latency at {load_percent}% of the highest rate, {read_percent}% reads");
            progress.step(&what, schedule.load_s);
            let measured = target.latency_at_load(read_percent, load_percent, highest, schedule.load_s);
            profile.latency_at_load.push(measured.map_err(failed(&what))?);
        }
    }
    progress.step("flushes", 2.0 * schedule.flush_s);
    profile.flush = Some(target.flush(schedule.flush_s).map_err(failed("flushes"))?);
    sustained(profile, target, schedule, progress)
}

/// Returns the highest rate of random 4 KiB operations.
fn highest_iops(rates: &[Rate], read_percent: u32) -> f64 {
    let small = rates.iter().filter(|rate| rate.random && rate.block_bytes == 4096);
    small.filter(|rate| rate.read_percent == read_percent).map(|rate| rate.iops).fold(0.0, f64::max)
}

fn sustained(
    profile: &mut DriveProfile,
    target: &Target,
    schedule: &Schedule,
    progress: &mut Progress<'_>,
) -> Result<(), ProfileFailure> {
    let window_s = (schedule.sustained_s / WINDOWS_MAX).max(WINDOW_S_MIN);
    let (mut windows, mut written, began) = (Vec::new(), 0, Instant::now());
    // The first windows agree while the cache lasts: the measurement may end only after as many
    // bytes were written as are tested.
    while !(has_settled(&windows) && written >= profile.drive.tested_bytes)
        && began.elapsed().as_secs_f64() + window_s <= schedule.sustained_s
    {
        progress.step("sustained write", window_s);
        let window = target.window(window_s, written);
        let (bytes, rate) =
            window.map_err(|error| ProfileFailure::Measure { what: "sustained write".into(), error })?;
        written += bytes;
        windows.push(rate);
    }
    let settled = has_settled(&windows);
    if !settled {
        profile.left_out.push("sustained write: the rate had not settled when the time was over".into());
    }
    profile.sustained_write = measure::sustained(windows, window_s, written, settled);
    Ok(())
}

/// Parses a size with a unit, or with one letter as in a job file, which is a power of 1024:
/// `512m`, `4GiB`, `4GB`.
fn tested_bytes(text: &str) -> Result<u64, String> {
    let units = Units { kb_base: 1024, machine: Surroundings::of_process().machine };
    let letter = text.chars().last().filter(|letter| "kmgtpKMGTP".contains(*letter));
    if letter.is_some() { units.size(text) } else { ringbolt_tool_common::units::bytes(text) }
}

#[cfg(test)]
mod tests;
