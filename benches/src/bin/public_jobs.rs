//! Runs public job files (tools/bench/jobs/public) with `ringbolt bench` and with fio, taking
//! turns.
//!
//! `cargo run --release -p ringbolt-benches --bin public_jobs`
//!
//! Both get the same text, with smaller sizes and shorter times, and the same files. A job that
//! runs until all is done must move as many bytes with as many operations as fio, or nearly as many
//! where sizes or directions are drawn; the mean size of operations must be fio's; the ratio of
//! IOPS is printed. Jobs that only fio can run, and those of S3, are left out.

// The tests of the bench tool run the same jobs, with as little to do.
#[path = "../../../tools/bench/src/run/scaled.rs"]
mod scaled;

use clap::Parser;
use ringbolt_bench::cli::{OutputFormat, RunOptions};
use ringbolt_bench::job::{self, Resolved, Surroundings};
use ringbolt_bench::report;
use ringbolt_bench::run::{Unwatched, run};
use ringbolt_bench::spec::Engine;
use ringbolt_benches::fio::{self, Sums};
use ringbolt_benches::stats::median_of;
use ringbolt_benches::verdict::exit_code;
use scaled::{Scale, scaled};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser, Debug)]
#[command(about = "Public job files, with ringbolt bench and with fio")]
struct Options {
    /// Where the job files are.
    #[arg(long, default_value = "tools/bench/jobs/public")]
    jobs: PathBuf,
    /// Where the files are made that are read and written; must be on a file system with direct I/O.
    #[arg(long, default_value = "target/bench/public")]
    dir: PathBuf,
    /// Turns of each side.
    #[arg(long, default_value_t = 11)]
    repeats: usize,
    /// How long a turn of a job that has a runtime takes, as fio reads a time.
    #[arg(long, default_value = "1s")]
    runtime: String,
    /// Run one job file alone, for example etcd-wal.
    #[arg(long)]
    only: Option<String>,
}

type AnyError = Box<dyn std::error::Error>;

/// Holds what each job of a file did, by its name.
type Jobs = Vec<(String, Sums)>;

const DRIVE_BYTES: u64 = 512 << 20;
/// fio 3.33 does not end with `thinktime_spin`, so its time is limited.
const FIO_SECONDS_MAX: u32 = 60;
/// Sizes and numbers of operations that are drawn at random may differ by this share. Each side
/// draws the same numbers in each turn, about a thousand, so that more turns do not make the
/// difference smaller.
const DIFFER_MAX: f64 = 0.1;

fn ours(resolved: &Resolved) -> Result<Jobs, AnyError> {
    let options = RunOptions { allow_overwrite: true, ..RunOptions::default() };
    let result = run(&resolved.plan, &options, &mut Unwatched)?;
    if let Some(text) = result.jobs.iter().find_map(|job| job.error_text.as_ref()) {
        return Err(text.clone().into());
    }
    let mut json = Vec::new();
    report::write(&result, &[OutputFormat::Json], &mut json)?;
    Ok(fio::sums(&json)?)
}

/// Compares both sides on one job file, and returns what is wrong as text; it is empty if nothing
/// is.
fn compare(options: &Options, file: &Path) -> Result<String, AnyError> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let directory = std::path::absolute(options.dir.join(&name))?;
    std::fs::create_dir_all(&directory)?;
    let drive = std::path::absolute(options.dir.join("drive"))?;
    let scale = Scale {
        directory: &directory,
        drive: &drive,
        sizes: ["128m", "64m"],
        threads_max: 4,
        runtime: &options.runtime,
        ramp: "0",
    };
    let text = scaled(&std::fs::read_to_string(file)?, &scale);
    let around = Surroundings::of_process();
    let Ok(resolved) = job::of_text(&text, file, &around) else { return Ok(String::new()) };
    if resolved.plan.jobs.iter().any(|job| job.engine == Engine::S3) {
        return Ok(String::new());
    }
    let is_timed = resolved.plan.jobs.iter().any(|job| job.time_based);
    let job_file = directory.join("job.fio");
    std::fs::write(&job_file, &text)?;
    // The first turn of each side lays files out.
    if let Err(error) = fio::sums_of_job_file(&job_file, FIO_SECONDS_MAX) {
        ours(&resolved)?;
        println!("| {name} | | fio did not end: {} | | | | | |", error.to_string().trim());
        return Ok(String::new());
    }
    let mut turns = Vec::new();
    for _ in 0..options.repeats {
        turns.push((ours(&resolved)?, fio::sums_of_job_file(&job_file, FIO_SECONDS_MAX)?));
    }
    std::fs::remove_dir_all(&directory)?;
    let mut wrong = Vec::new();
    for (at, (job, _)) in turns[0].0.iter().enumerate() {
        let of_job = |(ours, theirs): &(Jobs, Jobs)| {
            Some((ours.get(at)?.1, theirs.iter().find(|(other, _)| other == job)?.1))
        };
        let turns: Vec<(Sums, Sums)> = turns.iter().filter_map(of_job).collect();
        let shown = if is_named_alike(job, &name) { name.clone() } else { format!("{name}: {job}") };
        wrong.extend(Some(show(&shown, &turns, is_timed)).filter(|text| !text.is_empty()));
    }
    Ok(wrong.join("; "))
}

/// Returns whether the job's own name says no more than that of its file.
fn is_named_alike(job: &str, file: &str) -> bool {
    file.replace('-', "").contains(&job.replace(['-', '_'], ""))
}

fn sum_of(turns: &[(Sums, Sums)], part: impl Fn(&(Sums, Sums)) -> f64) -> f64 {
    turns.iter().map(part).sum()
}

fn show(name: &str, turns: &[(Sums, Sums)], is_timed: bool) -> String {
    let mut wrong = Vec::new();
    for (at, direction) in ["read", "write"].into_iter().enumerate() {
        let mean_of = |side: fn(&(Sums, Sums)) -> &Sums| {
            let ios = sum_of(turns, |turn| side(turn).ios[at]);
            (ios > 0.0).then(|| sum_of(turns, |turn| side(turn).bytes[at]) / ios)
        };
        let (Some(mean), Some(their_mean)) = (mean_of(|turn| &turn.0), mean_of(|turn| &turn.1)) else {
            continue;
        };
        let ours = median_of(turns, |turn| turn.0.iops[at]);
        let theirs = median_of(turns, |turn| turn.1.iops[at]);
        let ratio = median_of(turns, |turn| turn.0.iops[at] / turn.1.iops[at]);
        let same =
            turns.iter().all(|(ours, theirs)| ours.ios[at] == theirs.ios[at] && ours.bytes == theirs.bytes);
        // What is drawn at random, sizes or directions, is similar and not equal.
        let ios = [sum_of(turns, |turn| turn.0.ios[at]), sum_of(turns, |turn| turn.1.ios[at])];
        let alike = (ios[0] / ios[1] - 1.0).abs() < DIFFER_MAX;
        let work = match (is_timed, same, alike) {
            (true, ..) => "by time",
            (false, true, _) => "the same",
            (false, false, true) => "alike",
            (false, false, false) => "differ",
        };
        if work == "differ" {
            let (mine, fios) = (&turns[0].0, &turns[0].1);
            wrong.push(format!(
                "{name}, {direction}: {} operations and {} bytes, fio {} and {}",
                mine.ios[at], mine.bytes[at], fios.ios[at], fios.bytes[at]
            ));
        }
        if (mean / their_mean - 1.0).abs() > DIFFER_MAX {
            wrong.push(format!("{name}, {direction}: {mean:.0} bytes an operation, fio {their_mean:.0}"));
        }
        println!(
            "| {name} | {direction} | {work} | {mean:.0} | {their_mean:.0} | {ours:.0} | {theirs:.0} | {ratio:.2} |"
        );
    }
    wrong.join("; ")
}

fn measure(options: &Options) -> Result<bool, AnyError> {
    std::fs::create_dir_all(&options.dir)?;
    fio::write_through(&options.dir.join("drive"), DRIVE_BYTES, 0)?;
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&options.jobs)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    files.sort();
    let is_wanted = |file: &PathBuf| {
        options.only.as_ref().is_none_or(|only| file.file_stem().is_some_and(|stem| stem == only.as_str()))
    };
    println!("| job | direction | work | mean size | fio's | IOPS | fio's | ratio |");
    println!("|---|---|---|---|---|---|---|---|");
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| is_wanted(file)) {
        match compare(options, file) {
            Ok(text) if text.is_empty() => {}
            Ok(text) => wrong.push(text),
            Err(error) => wrong.push(format!("{}: {error}", file.display())),
        }
    }
    std::fs::remove_dir_all(&options.dir)?;
    wrong.iter().for_each(|text| println!("WRONG: {text}"));
    Ok(wrong.is_empty())
}

fn main() -> ExitCode {
    exit_code("public_jobs", measure(&Options::parse()))
}
