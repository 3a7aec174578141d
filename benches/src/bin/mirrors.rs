//! Measures what a second copy costs the server: CPU of durable PUTs and of GETs of 4 KiB and 1 MiB, with one
//! drive and with a mirror of two; and the memory of both after that.
//!
//! `cargo build --release && cargo run --release -p ringbolt-benches --bin mirrors`
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
use ringbolt_engine::node::{FormatOptions, format_drive};
use ringbolt_tool_common::units::{bytes, human_bytes};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// This is the most that one drive may cost, as a multiple of what it cost the server that was built before.
const BEFORE_RATIO_MAX: f64 = 1.08;
const KIB_4: u64 = 4 << 10;
const MIB: u64 = 1 << 20;

#[derive(Parser, Debug)]
#[command(about = "What a second copy costs the server")]
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

/// What is requested, and the most that it may cost on a mirror as a multiple of one drive, if that is limited.
const SCENARIOS: [(Scenario, Option<f64>); 4] = [
    (Scenario { name: "PUT 4 KiB", op: ObjectOp::Put, bytes: KIB_4, objects: 2000 }, Some(1.35)),
    (Scenario { name: "PUT 1 MiB", op: ObjectOp::Put, bytes: MIB, objects: 64 }, Some(1.3)),
    (Scenario { name: "GET 4 KiB", op: ObjectOp::Get, bytes: KIB_4, objects: 2000 }, None),
    (Scenario { name: "GET 1 MiB", op: ObjectOp::Get, bytes: MIB, objects: 64 }, Some(1.05)),
];

/// As many shards as a server of one core makes by itself.
const SHARDS: u16 = 2;

/// Starts a server on so many fresh drives. Reads go to the drives, and not to the read cache.
fn start(options: &Options, name: &str, drives: usize, program: Option<&Path>) -> Result<Server, AnyError> {
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
        let paths: Vec<PathBuf> = (0..drives).map(|at| serve.data.join(format!("drive{at}"))).collect();
        let format = FormatOptions {
            size_bytes: Some(bytes(&options.size)?),
            shards: SHARDS,
            force: true,
            seed: std::array::from_fn(|_| fastrand::u64(..)),
            ..FormatOptions::default()
        };
        let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
        format_drive(&paths, &format, &mut |_, _| {})?;
        serve.flags = vec!["--drive-set".into(), serve.data.join("drive*").display().to_string()];
    }
    Ok(place::start(&serve)?)
}

fn run(options: &Options) -> Result<bool, AnyError> {
    let memory = bytes(&options.memory)?;
    let one = start(options, "one-drive", 1, None)?;
    let mirror = start(options, "mirror-of-two", 2, None)?;
    let before =
        options.before.as_deref().map(|program| start(options, "before", 1, Some(program))).transpose()?;
    let side = |name, server| Side { name, server, https: Https::Off };
    let mut sides = vec![side("one drive", &one), side("mirror", &mirror)];
    sides.extend(before.as_ref().map(|before| side("before", before)));
    let mut verdicts = Verdicts::default();
    for (scenario, ratio_max) in SCENARIOS {
        let measured = on_core(options.place.client_core, || {
            options.turns.measure(scenario, &sides).map_err(|error| error.to_string())
        })?;
        let medians = measured?;
        let name = format!("CPU of {} on a mirror of two, over one drive", scenario.name);
        let ratio = medians[1] / medians[0];
        match ratio_max {
            Some(ratio_max) => verdicts.judge(&name, ratio, "", at_most(ratio_max)),
            None => println!("{name}: {ratio:.3}"),
        }
        if let Some(before) = medians.get(2) {
            let name = format!("CPU of {} on one drive, over before", scenario.name);
            verdicts.judge(&name, medians[0] / before, "", at_most(BEFORE_RATIO_MAX));
        }
    }
    for side in &sides {
        let resident = process_resident_bytes(side.server.pid())?;
        println!("{}: {} of memory", side.name, human_bytes(resident as f64));
    }
    let share = process_resident_bytes(mirror.pid())? as f64 / memory as f64;
    verdicts.judge("memory of the mirror, over what it may use", share, "", at_most(1.0));
    for server in [Some(one), Some(mirror), before].into_iter().flatten() {
        server.stop()?;
    }
    Ok(verdicts.finish())
}

fn main() -> ExitCode {
    exit_code("mirrors", run(&Options::parse()))
}
