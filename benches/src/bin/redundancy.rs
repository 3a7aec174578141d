//! Measures what redundancy costs the server: CPU of durable PUTs and of GETs of 4 KiB and 1 MiB, with one drive, with
//! a mirror of two, and with stripes 4+2 over six, also without two of these; and the memory of all after that.
//!
//! `cargo build --release && cargo run --release -p ringbolt-benches --bin redundancy`
//!
//! The servers share one core and take turns; the client is on another. The server's CPU time is that of all its
//! threads as counted by the scheduler, those of its ring included. All drives are files on one disk: times and
//! rates would say nothing, CPU time does. With `--before PROGRAM` a server of one drive that was built before
//! takes part, and what one drive costs is held against that.

use clap::Parser;
use ringbolt_bench::spec::{Https, ObjectOp};
use ringbolt_benches::http::process::{ServeOptions, Server};
use ringbolt_benches::http::sides::{Scenario, Side, Turns};
use ringbolt_benches::place::{self, Place};
use ringbolt_benches::usage::{on_core, process_resident_bytes};
use ringbolt_benches::verdict::{Verdicts, at_most, exit_code};
use ringbolt_engine::node::{FormatOptions, Redundancy, format_drive};
use ringbolt_tool_common::units::{bytes, human_bytes};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// This is the most that one drive may cost, as a multiple of what it cost the server that was built before.
const BEFORE_RATIO_MAX: f64 = 1.08;
const KIB_4: u64 = 4 << 10;
const MIB: u64 = 1 << 20;

#[derive(Parser, Debug)]
#[command(about = "What copies and stripes cost the server")]
struct Options {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    turns: Turns,
    /// What each server may use.
    #[arg(long, default_value = "512MiB")]
    memory: String,
    /// Size of each drive file.
    #[arg(long, default_value = "2GiB")]
    size: String,
    /// A server that was built before, to compare one drive with.
    #[arg(long)]
    before: Option<PathBuf>,
}

type AnyError = Box<dyn std::error::Error>;

/// What is requested, and the most that it may cost on a mirror and on stripes as a multiple of one drive, if that is
/// limited.
const SCENARIOS: [(Scenario, Option<f64>, Option<f64>); 4] = [
    (Scenario { name: "PUT 4 KiB", op: ObjectOp::Put, bytes: KIB_4, objects: 2000 }, Some(1.35), None),
    (Scenario { name: "PUT 1 MiB", op: ObjectOp::Put, bytes: MIB, objects: 64 }, Some(1.3), Some(1.35)),
    (Scenario { name: "GET 4 KiB", op: ObjectOp::Get, bytes: KIB_4, objects: 2000 }, None, None),
    (Scenario { name: "GET 1 MiB", op: ObjectOp::Get, bytes: MIB, objects: 64 }, Some(1.05), Some(1.2)),
];
/// The most that a GET of 1 MiB may cost without two of six drives, as a multiple of one drive.
const DEGRADED_RATIO_MAX: f64 = 2.5;

/// As many shards as a server of one core makes by itself.
const SHARDS: u16 = 2;
/// The drives of stripes 4+2. Each is the home of a shard.
const STRIPES: usize = 6;

/// A server, and how it was started.
struct Served {
    server: Server,
    options: ServeOptions,
}

impl Served {
    /// Starts the server again with the first drives of its set.
    fn again_with(self, drives: usize) -> Result<Self, AnyError> {
        let mut options = self.options;
        self.server.stop()?;
        options.flags = flags_of(&paths_of(&options.data, drives));
        Ok(Self { server: place::start(&options)?, options })
    }
}

fn paths_of(data: &Path, drives: usize) -> Vec<PathBuf> {
    (0..drives).map(|at| data.join(format!("drive{at}"))).collect()
}

fn flags_of(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().flat_map(|path| ["--drive".into(), path.display().to_string()]).collect()
}

/// Starts a server on so many fresh drives. Reads go to the drives, and not to the read cache.
fn start(
    options: &Options,
    name: &str,
    (drives, redundancy): (usize, Redundancy),
    program: Option<&Path>,
) -> Result<Served, AnyError> {
    let mut serve = ServeOptions {
        memory: options.memory.clone(),
        size: options.size.clone(),
        read_cache: Some("off".into()),
        flags: vec!["--shards".into(), SHARDS.to_string()],
        ..options.place.fresh(name)?
    };
    if let Some(program) = program {
        serve.program = program.to_owned();
    }
    if drives > 1 {
        std::fs::create_dir_all(&serve.data)?;
        let paths = paths_of(&serve.data, drives);
        let format = FormatOptions {
            size_bytes: Some(bytes(&options.size)?),
            shards: if redundancy.data_members > 1 { drives as u16 } else { SHARDS },
            redundancy: Some(redundancy),
            force: true,
            seed: std::array::from_fn(|_| fastrand::u64(..)),
        };
        let all: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
        format_drive(&all, &format, &mut |_, _| {})?;
        serve.flags = flags_of(&paths);
    }
    Ok(Served { server: place::start(&serve)?, options: serve })
}

/// Measures a scenario on all sides, and returns the medians.
fn measure(options: &Options, scenario: Scenario, sides: &[Side<'_>]) -> Result<Vec<f64>, AnyError> {
    let measured = on_core(options.place.client_core, || {
        options.turns.measure(scenario, sides).map_err(|error| error.to_string())
    })?;
    Ok(measured?)
}

fn side<'a>(name: &'a str, served: &'a Served) -> Side<'a> {
    Side { name, server: &served.server, https: Https::Off }
}

/// Judges a ratio, or tells it if it has no limit.
fn judge(verdicts: &mut Verdicts, name: &str, ratio: f64, ratio_max: Option<f64>) {
    match ratio_max {
        Some(ratio_max) => verdicts.judge(name, ratio, "", at_most(ratio_max)),
        None => println!("{name}: {ratio:.3}"),
    }
}

/// Measures what needs no drive to be lost: one drive, the mirror, the stripes and, if there is one, the server
/// that was built before.
fn whole(
    options: &Options,
    sides: &[Side<'_>],
    memory: u64,
    verdicts: &mut Verdicts,
) -> Result<(), AnyError> {
    for (scenario, mirror_max, stripes_max) in SCENARIOS {
        let medians = measure(options, scenario, sides)?;
        let name = |what: &str| format!("CPU of {} {what}", scenario.name);
        judge(verdicts, &name("on a mirror of two, over one drive"), medians[1] / medians[0], mirror_max);
        judge(verdicts, &name("on stripes 4+2, over one drive"), medians[2] / medians[0], stripes_max);
        if let Some(before) = medians.get(3) {
            judge(verdicts, &name("on one drive, over before"), medians[0] / before, Some(BEFORE_RATIO_MAX));
        }
    }
    for side in sides {
        let resident = process_resident_bytes(side.server.pid())? as f64;
        println!("{}: {} of memory", side.name, human_bytes(resident));
        judge(
            verdicts,
            &format!("memory of {}, over what it may use", side.name),
            resident / memory as f64,
            Some(1.0),
        );
    }
    Ok(())
}

fn run(options: &Options) -> Result<bool, AnyError> {
    let memory = bytes(&options.memory)?;
    let one = start(options, "one-drive", (1, Redundancy::NONE), None)?;
    let mirror = start(options, "mirror-of-two", (2, Redundancy::copies(1)), None)?;
    let stripes = start(options, "stripes", (STRIPES, Redundancy::striped(4, 2)), None)?;
    let before = options.before.as_deref();
    let before =
        before.map(|program| start(options, "before", (1, Redundancy::NONE), Some(program))).transpose()?;
    let mut verdicts = Verdicts::default();
    let all = [
        ("one drive", Some(&one)),
        ("mirror", Some(&mirror)),
        ("4+2", Some(&stripes)),
        ("before", before.as_ref()),
    ];
    let sides: Vec<Side<'_>> =
        all.into_iter().filter_map(|(name, served)| Some(side(name, served?))).collect();
    whole(options, &sides, memory, &mut verdicts)?;
    let degraded = stripes.again_with(STRIPES - 2)?;
    let (scenario, ..) = SCENARIOS[3];
    let medians = measure(options, scenario, &[side("one drive", &one), side("4 of 4+2", &degraded)])?;
    let name = format!("CPU of {} on stripes 4+2 without two drives, over one drive", scenario.name);
    judge(&mut verdicts, &name, medians[1] / medians[0], Some(DEGRADED_RATIO_MAX));
    for served in [Some(one), Some(mirror), Some(degraded), before].into_iter().flatten() {
        served.server.stop()?;
    }
    Ok(verdicts.finish())
}

fn main() -> ExitCode {
    exit_code("redundancy", run(&Options::parse()))
}
