//! Measures a drive that has been full for a long time: write amplification and latency under the
//! log's cleaner, and throughput of large objects among the gaps that others left.
//!
//! `cargo run --release -p ringbolt-benches --bin aging -- all`
//!
//! Full means what a freshly formatted drive accepts of the same objects before it refuses the
//! first one; this is measured.

mod fill;
mod large;
mod refill;
mod small;

use clap::{Parser, ValueEnum};
use ringbolt_benches::engine_load::ensure_bucket;
use ringbolt_benches::executor::Executor;
use ringbolt_benches::usage::pin_to_core;
use ringbolt_benches::verdict::{Verdicts, exit_code};
use ringbolt_engine::node::{Core, FormatOptions, NodeOptions, NodePlan, Redundancy, format_drive};
use ringbolt_engine::types::BucketId;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Objects of 4 to 64 KiB, overwritten at random.
    Small,
    /// Objects of 128 KiB to 16 MiB, deleted and stored at random.
    Large,
    /// Objects of 16 to 512 KiB: a third of a full drive deleted and put again.
    Refill,
    /// All of these.
    All,
}

#[derive(Parser, Clone, Debug)]
#[command(about = "A drive that is full and old: write amplification, latency, fragmentation")]
struct Options {
    scenario: Scenario,
    /// Where the drive file is made; must be on a file system with direct I/O.
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
    /// Size of the drive file, MiB.
    #[arg(long, default_value_t = 2048)]
    size_mib: u64,
    /// Shards of the drive.
    #[arg(long, default_value_t = 4)]
    shards: u16,
    /// Core that everything runs on.
    #[arg(long, default_value_t = 1)]
    core: usize,
    /// Small objects: how full, per cent of what the drive takes.
    #[arg(long, default_value_t = 85)]
    small_percent: u64,
    /// Small objects: times the drive's size that is overwritten.
    #[arg(long, default_value_t = 10)]
    small_turns: u64,
    /// Small objects: PUTs a second, and as many GETs, while latency is measured.
    #[arg(long, default_value_t = 500)]
    rate: u64,
    /// Large objects: how full, per cent of what the drive takes.
    #[arg(long, default_value_t = 90)]
    large_percent: u64,
    /// Large objects: times the drive's size that is stored anew.
    #[arg(long, default_value_t = 20)]
    large_turns: u64,
    /// A third put again: PUTs a second.
    #[arg(long, default_value_t = 100)]
    refill_rate: u64,
    /// A third put again: turns of a quiet and a busy phase.
    #[arg(long, default_value_t = 5)]
    refill_turns: u64,
    /// Measured seconds of each phase.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Buffers of the core, MiB.
    #[arg(long, default_value_t = 256)]
    arena_mib: usize,
    /// Of sizes and choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

type AnyError = Box<dyn std::error::Error>;

/// This is an open node of one core on a freshly formatted drive.
struct Bench {
    options: Options,
    executor: Executor,
    core: Core,
    bucket: BucketId,
}

impl Bench {
    fn open(options: &Options, file: &str) -> Result<Self, AnyError> {
        std::fs::create_dir_all(&options.dir)?;
        let drive = options.dir.join(file);
        let random = || fastrand::u64(..);
        let format = FormatOptions {
            size_bytes: Some(options.size_mib << 20),
            shards: options.shards,
            redundancy: Some(Redundancy::NONE),
            force: true,
            seed: [random(), random(), random(), random()],
        };
        let paths: [&Path; 1] = [&drive];
        format_drive(&paths, &format, &mut |_, _| {})?;
        let executor = Executor::new()?;
        let seeds = NodePlan::open(NodeOptions {
            drives: vec![drive],
            without_drives: Vec::new(),
            cores: 1,
            arena_bytes_per_core: options.arena_mib << 20,
            index_bytes_max: 2 << 30,
            register_buffers: false,
            clock_step_max_ms: ringbolt_engine::types::rules::DAY_MS,
            read_cache_bytes_per_core: 0,
        })?;
        let seed = seeds.into_iter().next().ok_or("the node has no core")?;
        let core = seed.start(executor.environment())?;
        executor.attach(core.driver())?;
        executor.run(core.open())??;
        let bucket = executor.run(ensure_bucket(&core, "aging"))??;
        Ok(Self { options: options.clone(), executor, core, bucket })
    }

    fn close(&self) -> Result<(), AnyError> {
        Ok(self.executor.run(self.core.close())??)
    }

    fn drive_bytes(&self) -> u64 {
        self.options.size_mib << 20
    }

    fn print_space(&self) -> Result<(), AnyError> {
        let space = self.executor.run(self.core.space())??;
        let percent = |bytes: u64| bytes as f64 * 100.0 / space.physical_bytes as f64;
        println!(
            "   space: {:.1}% live, {:.1}% dead, {:.1}% reserved, {:.1}% free; {} objects, {} slices in {} runs",
            percent(space.live_bytes),
            percent(space.dead_bytes),
            percent(space.reserved_bytes),
            percent(space.free_bytes),
            space.objects,
            space.runs.slices,
            space.runs.runs,
        );
        Ok(())
    }
}

fn run(options: &Options) -> Result<bool, AnyError> {
    pin_to_core(options.core)?;
    let mut verdicts = Verdicts::default();
    let wanted = |scenario| options.scenario == scenario || options.scenario == Scenario::All;
    if wanted(Scenario::Small) {
        small::run(options, &mut verdicts)?;
    }
    if wanted(Scenario::Large) {
        large::run(options, &mut verdicts)?;
    }
    if wanted(Scenario::Refill) {
        refill::run(options, &mut verdicts)?;
    }
    Ok(verdicts.finish())
}

fn main() -> ExitCode {
    exit_code("aging", run(&Options::parse()))
}
