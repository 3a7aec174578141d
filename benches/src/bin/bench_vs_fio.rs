//! Runs `ringbolt bench` with `ioengine=io_uring` against fio: the same job files on the same file,
//! taking turns.
//!
//! `cargo run --release -p ringbolt-benches --bin bench_vs_fio`
//!
//! The file is written completely before, because both sides would otherwise measure the file
//! system's allocation.

use clap::Parser;
use ringbolt_bench::cli::RunOptions;
use ringbolt_bench::job::{Surroundings, command_line};
use ringbolt_bench::run::{Unwatched, run};
use ringbolt_bench::spec::Direction;
use ringbolt_benches::fio;
use ringbolt_benches::stats::median_of;
use ringbolt_benches::verdict::{Verdicts, at_least, at_most, exit_code};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser, Debug)]
#[command(about = "ringbolt bench against fio, the same job files on the same file")]
struct Options {
    /// Where the files are made; must be on a file system with direct I/O.
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
    /// Size of the file, GiB.
    #[arg(long, default_value_t = 2)]
    size_gib: u64,
    /// Core that both sides are pinned to.
    #[arg(long, default_value_t = 1)]
    core: usize,
    /// Turns of each side.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Measured seconds of each turn, after one second of ramp.
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// Run one case alone, for example randread-4k-32.
    #[arg(long)]
    only: Option<String>,
}

type AnyError = Box<dyn std::error::Error>;

/// Lists pattern, block size and depth.
const CASES: [(&str, &str, u32); 8] = [
    ("randread", "4k", 1),
    ("randread", "4k", 32),
    ("randread", "4k", 128),
    ("randwrite", "4k", 1),
    ("randwrite", "4k", 32),
    ("randwrite", "4k", 128),
    ("read", "1m", 16),
    ("write", "1m", 16),
];

/// Holds the results of one side in one turn.
#[derive(Clone, Copy, Debug)]
struct Turn {
    iops: f64,
    cpu_us_per_io: f64,
}

fn job_text(options: &Options, file: &Path, case: (&str, &str, u32)) -> String {
    let (pattern, block, depth) = case;
    format!(
        "[job]\nfilename={}\nsize={}g\nioengine=io_uring\ndirect=1\nrw={pattern}\nbs={block}\niodepth={depth}\n\
         time_based=1\nruntime={}\nramp_time=1\ncpus_allowed={}\n",
        file.display(),
        options.size_gib,
        options.seconds,
        options.core
    )
}

fn ours(job_file: &Path) -> Result<Turn, AnyError> {
    let line = command_line::parse(&[job_file.as_os_str().to_owned()], &Surroundings::of_process())?;
    let options = RunOptions { allow_overwrite: true, ..line.options };
    let result = run(&line.plan, &options, &mut Unwatched)?.jobs.into_iter().next().ok_or("no result")?;
    if let Some(text) = &result.error_text {
        return Err(text.clone().into());
    }
    let directions = Direction::ALL.map(|direction| result.by_direction.get(direction));
    let busy = directions.into_iter().find(|of| of.ios > 0).ok_or("no operation was counted")?;
    let cpu_ns = result.usage.user_ns + result.usage.system_ns;
    Ok(Turn {
        iops: busy.ios as f64 * 1e9 / busy.runtime_ns as f64,
        cpu_us_per_io: cpu_ns as f64 / 1e3 / busy.ios as f64,
    })
}

fn theirs(job_file: &Path) -> Result<Turn, AnyError> {
    let result = fio::run_job_file(job_file)?;
    Ok(Turn { iops: result.iops, cpu_us_per_io: result.cpu_us_per_io })
}

fn compare(
    options: &Options,
    file: &Path,
    case: (&str, &str, u32),
    verdicts: &mut Verdicts,
) -> Result<(), AnyError> {
    let (pattern, block, depth) = case;
    let job_file = options.dir.join(format!("{}.fio", name_of(case)));
    std::fs::write(&job_file, job_text(options, file, case))?;
    let mut turns: Vec<(Turn, Turn)> = Vec::new();
    for _ in 0..options.repeats {
        turns.push((ours(&job_file)?, theirs(&job_file)?));
    }
    std::fs::remove_file(&job_file)?;
    let iops = [median_of(&turns, |turn| turn.0.iops), median_of(&turns, |turn| turn.1.iops)];
    let cpu =
        [median_of(&turns, |turn| turn.0.cpu_us_per_io), median_of(&turns, |turn| turn.1.cpu_us_per_io)];
    println!(
        "| {pattern} {block}, depth {depth} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} |",
        iops[0],
        iops[1],
        iops[0] / iops[1],
        cpu[0],
        cpu[1],
        cpu[0] / cpu[1]
    );
    let name = format!("{pattern} {block} at {depth}");
    verdicts.judge(&format!("{name}, IOPS over fio's"), iops[0] / iops[1], "x", at_least(0.97));
    verdicts.judge(&format!("{name}, CPU per I/O over fio's"), cpu[0] / cpu[1], "x", at_most(1.0));
    Ok(())
}

fn name_of((pattern, block, depth): (&str, &str, u32)) -> String {
    format!("{pattern}-{block}-{depth}")
}

fn measure(options: &Options) -> Result<bool, AnyError> {
    std::fs::create_dir_all(&options.dir)?;
    let file = std::path::absolute(options.dir.join("bench-vs-fio.bin"))?;
    fio::write_through(&file, options.size_gib << 30, options.core)?;
    println!("| job | IOPS | fio's | ratio | CPU µs for each I/O | fio's | ratio |");
    println!("|---|---|---|---|---|---|---|");
    let mut verdicts = Verdicts::default();
    let is_wanted =
        |case: &(&str, &str, u32)| options.only.as_ref().is_none_or(|only| *only == name_of(*case));
    for case in CASES.into_iter().filter(is_wanted) {
        compare(options, &file, case, &mut verdicts)?;
    }
    std::fs::remove_file(&file)?;
    Ok(verdicts.finish())
}

fn main() -> ExitCode {
    exit_code("bench_vs_fio", measure(&Options::parse()))
}
