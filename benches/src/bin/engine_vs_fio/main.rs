//! Compares one core of the engine with fio on the same file system, in one run, taking turns.
//!
//! `cargo run --release -p ringbolt-benches --bin engine_vs_fio -- all`
//!
//! The engine works on a freshly formatted drive file. fio reads that same file, and writes to a
//! second one of the same size that was written completely before, because both sides would
//! otherwise measure the file system's allocation.

mod large;
mod small_get;
mod small_put;

use clap::{Parser, ValueEnum};
use ringbolt_benches::engine_load::LoadPlan;
use ringbolt_benches::executor::Executor;
use ringbolt_benches::fio;
use ringbolt_benches::usage::pin_to_core;
use ringbolt_benches::verdict::{Verdicts, exit_code};
use ringbolt_engine::node::{Core, FormatOptions, NodeOptions, NodePlan, Redundancy, format_drive};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Random GET of 4 KiB objects against random reads.
    Get,
    /// GET and PUT of 4 MiB objects against sequential reads and writes.
    Large,
    /// Durable 4 KiB PUT: group commit and latency.
    Put,
    /// All three.
    All,
}

#[derive(Parser, Debug)]
#[command(about = "One core of the engine against fio")]
struct Options {
    scenario: Scenario,
    /// Where the files are made; must be on a file system with direct I/O.
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
    /// Size of the drive file, GiB.
    #[arg(long, default_value_t = 6)]
    size_gib: u64,
    /// Shards of the drive.
    #[arg(long, default_value_t = 2)]
    shards: u16,
    /// Core that both sides are pinned to.
    #[arg(long, default_value_t = 1)]
    core: usize,
    /// Turns of each side.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Measured seconds of each turn, after one second of ramp.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// 4 KiB objects stored for the GETs.
    #[arg(long, default_value_t = 200_000)]
    objects: u64,
    /// 4 MiB operations of the engine in flight, against four times as many of fio's 1 MiB.
    #[arg(long, default_value_t = 4)]
    large_in_flight: usize,
    /// Buffers of the core, MiB.
    #[arg(long, default_value_t = 256)]
    arena_mib: usize,
    /// Work without registered buffers (too little memlock).
    #[arg(long)]
    unregistered: bool,
    /// Run the engine's side alone (for a profiler).
    #[arg(long)]
    engine_only: bool,
}

type AnyError = Box<dyn std::error::Error>;

/// This is an open node of one core, and what the scenarios need to know.
struct Bench {
    options: Options,
    executor: Executor,
    core: Core,
    drive: PathBuf,
    verdicts: Verdicts,
}

impl Bench {
    fn open(options: Options) -> Result<Self, AnyError> {
        std::fs::create_dir_all(&options.dir)?;
        let drive = format_file(&options)?;
        let executor = Executor::new()?;
        let seeds = NodePlan::open(NodeOptions {
            drives: vec![drive.clone()],
            without_drives: Vec::new(),
            cores: 1,
            arena_bytes_per_core: options.arena_mib << 20,
            // Without a read cache, the drive is what is measured.
            read_cache_bytes_per_core: 0,
            index_bytes_max: 2 << 30,
            register_buffers: !options.unregistered,
            clock_step_max_ms: ringbolt_engine::types::rules::DAY_MS,
        })?;
        let seed = seeds.into_iter().next().ok_or("the node has no core")?;
        let core = seed.start(executor.environment())?;
        executor.attach(core.driver())?;
        executor.run(core.open())??;
        Ok(Self { options, executor, core, drive, verdicts: Verdicts::default() })
    }

    fn close(&self) -> Result<(), AnyError> {
        Ok(self.executor.run(self.core.close())??)
    }

    fn plan(&self, depth: usize) -> LoadPlan {
        let runtime = Duration::from_secs(u64::from(self.options.seconds));
        LoadPlan { depth, ramp: Duration::from_secs(1), runtime }
    }

    fn size_bytes(&self) -> u64 {
        self.options.size_gib << 30
    }

    /// Returns the file that fio writes to: it has the same file system and size, and was written
    /// completely.
    fn scratch_file(&self) -> Result<PathBuf, AnyError> {
        let path = self.options.dir.join("fio-scratch.bin");
        let ready = std::fs::metadata(&path).is_ok_and(|file| file.len() == self.size_bytes());
        if !ready {
            println!("writing fio's file through, {} GiB", self.options.size_gib);
            fio::write_through(&path, self.size_bytes(), self.options.core)?;
        }
        Ok(path)
    }
}

fn format_file(options: &Options) -> Result<PathBuf, AnyError> {
    let drive = options.dir.join("drive.bin");
    let random = || fastrand::u64(..);
    let format = FormatOptions {
        size_bytes: Some(options.size_gib << 30),
        shards: options.shards,
        redundancy: Some(Redundancy::NONE),
        force: true,
        seed: [random(), random(), random(), random()],
    };
    println!("formatting {} GiB", options.size_gib);
    let paths: [&Path; 1] = [&drive];
    format_drive(&paths, &format, &mut |_, _| {})?;
    Ok(drive)
}

fn run(options: Options) -> Result<bool, AnyError> {
    pin_to_core(options.core)?;
    let scenario = options.scenario;
    let mut bench = Bench::open(options)?;
    match scenario {
        Scenario::Get => small_get::run(&mut bench)?,
        Scenario::Large => large::run(&mut bench)?,
        Scenario::Put => small_put::run(&mut bench)?,
        Scenario::All => {
            small_get::run(&mut bench)?;
            small_put::run(&mut bench)?;
            large::run(&mut bench)?;
        }
    }
    bench.close()?;
    Ok(bench.verdicts.finish())
}

fn main() -> ExitCode {
    exit_code("engine_vs_fio", run(Options::parse()))
}
