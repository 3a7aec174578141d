//! Measures what the lifecycle of a bucket with a million objects costs: the CPU time of its runner,
//! and what clients notice of it.
//!
//! `cargo run --release -p ringbolt-benches --bin lifecycle`
//!
//! In turns on one open node, the runner is at rest, it walks through all objects and finds nothing
//! due, and it finds everything due and removes one object after the other. A day is so short that
//! one pass follows the other.

use clap::Parser;
use ringbolt_benches::engine_load::{ensure_bucket, object_body, object_key, put_object, store_objects};
use ringbolt_benches::executor::Executor;
use ringbolt_benches::stats::median;
use ringbolt_benches::steady::{Operation, measure};
use ringbolt_benches::usage::{own_cpu_us, pin_to_core};
use ringbolt_benches::verdict::{Verdicts, at_most, exit_code};
use ringbolt_engine::lifecycle::{Expiration, LifecycleCounters, LifecycleRules, Rule};
use ringbolt_engine::node::{
    Core, FormatOptions, LifecycleOptions, NodeOptions, NodePlan, Redundancy, format_drive,
};
use ringbolt_engine::types::{BucketId, ConfigKind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Bytes of each object that rules apply to.
const OBJECT_BYTES: usize = 128;
/// Bytes of each object that is put meanwhile, and the number of their keys.
const PUT_BYTES: usize = 4096;
const PUT_KEYS: u64 = 10_000;
/// After this many days nothing is due while the program runs.
const NEVER_DAYS: u32 = 1_000_000_000;
const POLL_MS: u64 = 5;
const STATE_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Parser, Debug)]
#[command(about = "What the lifecycle of a bucket with a million objects costs")]
struct Options {
    /// Objects that rules apply to.
    #[arg(long, default_value_t = 1_000_000)]
    objects: u64,
    /// Where the drive file is made; must be on a file system with direct I/O.
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
    /// Size of the drive file, GiB.
    #[arg(long, default_value_t = 4)]
    size_gib: u64,
    /// Shards of the drive, each with a runner of its own.
    #[arg(long, default_value_t = 2)]
    shards: u16,
    /// Core that everything runs on.
    #[arg(long, default_value_t = 1)]
    core: usize,
    /// Turns of each side.
    #[arg(long, default_value_t = 7)]
    repeats: usize,
    /// Measured seconds of each side in a turn, once for CPU time and once for latency.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// PUTs a second while latency is measured.
    #[arg(long, default_value_t = 500)]
    rate: u64,
    /// Length of a day, milliseconds.
    #[arg(long, default_value_t = 500)]
    day_ms: u64,
}

type AnyError = Box<dyn std::error::Error>;

/// What the runner is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    AtRest,
    Walking,
    Removing,
}

impl State {
    const ALL: [Self; 3] = [Self::AtRest, Self::Walking, Self::Removing];

    fn rules(self) -> Option<Vec<u8>> {
        let days = match self {
            Self::AtRest => return None,
            Self::Walking => NEVER_DAYS,
            Self::Removing => 1,
        };
        let id = "bench".to_owned();
        let rule = Rule { id, enabled: true, expiration: Some(Expiration::Days(days)), ..Rule::default() };
        Some(LifecycleRules { rules: vec![rule] }.encode(b""))
    }

    /// Counts what the runner does in this state.
    fn work(self, counters: &LifecycleCounters) -> u64 {
        match self {
            Self::AtRest => 0,
            Self::Walking => counters.examined,
            Self::Removing => counters.versions_removed,
        }
    }
}

/// What was measured of a state in one turn.
#[derive(Clone, Copy, Debug)]
struct Turn {
    /// CPU time of the process in a second, seconds.
    cpu: f64,
    /// What the runner did in a second.
    work_per_s: f64,
    p99_us: f64,
}

/// An open node of one core on a freshly formatted drive.
struct Bench {
    executor: Executor,
    core: Core,
    ruled: BucketId,
    loaded: BucketId,
    drive: PathBuf,
}

impl Bench {
    fn open(options: &Options) -> Result<Self, AnyError> {
        std::fs::create_dir_all(&options.dir)?;
        let drive = options.dir.join("lifecycle.bin");
        let seed = [fastrand::u64(..), fastrand::u64(..), fastrand::u64(..), fastrand::u64(..)];
        let size_bytes = Some(options.size_gib << 30);
        let format = FormatOptions {
            size_bytes,
            shards: options.shards,
            redundancy: Some(Redundancy::NONE),
            force: true,
            seed,
        };
        let paths: [&Path; 1] = [&drive];
        format_drive(&paths, &format, &mut |_, _| {})?;
        let executor = Executor::new()?;
        let seeds = NodePlan::open(NodeOptions {
            drives: vec![drive.clone()],
            without_drives: Vec::new(),
            cores: 1,
            arena_bytes_per_core: 128 << 20,
            read_cache_bytes_per_core: 0,
            index_bytes_max: 2 << 30,
            register_buffers: false,
            clock_step_max_ms: ringbolt_engine::types::rules::DAY_MS,
        })?;
        let core = seeds.into_iter().next().ok_or("the node has no core")?.start(executor.environment())?;
        executor.attach(core.driver())?;
        executor.run(core.open())??;
        let ruled = executor.run(ensure_bucket(&core, "ruled"))??;
        let loaded = executor.run(ensure_bucket(&core, "loaded"))??;
        let took = store_objects(&executor, &core, ruled, options.objects, OBJECT_BYTES, 64)?;
        println!("stored {} objects in {took:.1} s", options.objects);
        let lifecycle =
            LifecycleOptions { day_ms: options.day_ms, every_ms: 1, ..LifecycleOptions::default() };
        println!("at most {} operations a second in each shard", lifecycle.operations_per_second);
        core.run_lifecycle(lifecycle);
        Ok(Self { executor, core, ruled, loaded, drive })
    }

    fn sleep(&self, time: Duration) -> Result<(), AnyError> {
        let environment = self.executor.environment();
        Ok(self.executor.run(async move { environment.sleep(time.as_millis() as u64).await })?)
    }

    fn counters(&self) -> Result<LifecycleCounters, AnyError> {
        let shards = self.executor.run(self.core.metrics())??.shards;
        let sum = |of: fn(&LifecycleCounters) -> u64| shards.iter().map(|shard| of(&shard.lifecycle)).sum();
        Ok(LifecycleCounters {
            examined: sum(|counters| counters.examined),
            versions_removed: sum(|counters| counters.versions_removed),
            errors: sum(|counters| counters.errors),
            passes: sum(|counters| counters.passes),
            ..LifecycleCounters::default()
        })
    }

    /// Brings the runner into a state.
    fn enter(&self, state: State) -> Result<(), AnyError> {
        let rules = state.rules();
        self.executor.run(self.core.set_bucket_config(self.ruled, ConfigKind::LIFECYCLE, rules))??;
        let begun = Instant::now();
        let mut before = self.counters()?;
        loop {
            if begun.elapsed() > STATE_TIMEOUT {
                return Err(format!("the runner is not {state:?} after {STATE_TIMEOUT:?}").into());
            }
            // A step of the walk, and an operation, may take longer than one sleep.
            self.sleep(Duration::from_millis(20 * POLL_MS))?;
            let now = self.counters()?;
            let rests = now.examined == before.examined && now.passes == before.passes;
            if if state == State::AtRest { rests } else { state.work(&now) > state.work(&before) } {
                return Ok(());
            }
            before = now;
        }
    }

    /// Returns the latency of PUTs at a fixed rate.
    fn p99_us(&self, options: &Options) -> Result<f64, AnyError> {
        let (core, bucket) = (self.core.clone(), self.loaded);
        let body: Rc<[u8]> = object_body(0, PUT_BYTES).into();
        let put: Operation = Rc::new(move || {
            let (core, body) = (core.clone(), body.clone());
            Box::pin(async move {
                put_object(&core, bucket, &object_key(fastrand::u64(..PUT_KEYS)), &body).await?;
                Ok(PUT_BYTES as u64)
            })
        });
        let count = options.rate * options.seconds;
        let [latency] = measure(&self.executor, options.rate, count, &[put])?;
        Ok(latency.p99_us)
    }

    fn turn(&self, options: &Options, state: State) -> Result<Turn, AnyError> {
        self.enter(state)?;
        let (before, cpu_us, begun) = (self.counters()?, own_cpu_us()?, Instant::now());
        self.sleep(Duration::from_secs(options.seconds))?;
        let (elapsed_s, cpu_us) = (begun.elapsed().as_secs_f64(), own_cpu_us()? - cpu_us);
        let between = self.counters()?;
        let p99_us = self.p99_us(options)?;
        let after = self.counters()?;
        let worked = state.work(&between) - state.work(&before);
        if after.errors > 0 || state != State::AtRest && state.work(&after) == state.work(&between) {
            return Err(format!("the runner was not {state:?}: {before:?}, {after:?}").into());
        }
        Ok(Turn { cpu: cpu_us as f64 / 1e6 / elapsed_s, work_per_s: worked as f64 / elapsed_s, p99_us })
    }
}

/// Measures every state in turns.
fn compare(bench: &Bench, options: &Options) -> Result<bool, AnyError> {
    let mut turns: [Vec<Turn>; 3] = Default::default();
    println!("{:<10}{:>16}{:>16}{:>14}", "", "CPU, % of core", "operations/s", "PUT p99, us");
    for _ in 0..options.repeats {
        for (state, turns) in State::ALL.into_iter().zip(&mut turns) {
            let turn = bench.turn(options, state)?;
            let (name, cpu) = (format!("{state:?}"), turn.cpu * 100.0);
            println!("{name:<10}{cpu:>16.2}{:>16.0}{:>14.0}", turn.work_per_s, turn.p99_us);
            turns.push(turn);
        }
    }
    let mut verdicts = Verdicts::default();
    let [at_rest, walking, removing] = turns;
    println!("\nmedians of {} turns", options.repeats);
    for (name, busy) in [("walking", &walking), ("removing", &removing)] {
        let of_turns = |of: &dyn Fn(&Turn, &Turn) -> f64| {
            median(&busy.iter().zip(&at_rest).map(|(busy, rest)| of(busy, rest)).collect::<Vec<_>>())
        };
        println!("{name}: {:.0} operations/s", of_turns(&|busy, _| busy.work_per_s));
        let cpu = of_turns(&|busy, rest| busy.cpu - rest.cpu);
        verdicts.judge(&format!("CPU while {name}"), cpu * 100.0, "% of a core", at_most(10.0));
        let p99 = of_turns(&|busy, rest| busy.p99_us / rest.p99_us);
        verdicts.judge(&format!("p99 of PUT while {name}, over at rest"), p99, "", at_most(1.5));
    }
    Ok(verdicts.finish())
}

fn run(options: &Options) -> Result<bool, AnyError> {
    pin_to_core(options.core)?;
    let bench = Bench::open(options)?;
    let well = compare(&bench, options)?;
    bench.enter(State::AtRest)?;
    bench.executor.run(bench.core.close())??;
    std::fs::remove_file(&bench.drive)?;
    Ok(well)
}

fn main() -> ExitCode {
    exit_code("lifecycle", run(&Options::parse()))
}
