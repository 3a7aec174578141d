//! CPU time of the cleaner: the engine in this process, on a small drive that is overwritten without end.

use super::engine::{Failure, SingleCore};
use ringbolt_engine::node::Counters;
use std::path::Path;

const MIB: f64 = 1024.0 * 1024.0;
const DRIVE_BYTES: u64 = 512 << 20;
const SHARDS: u16 = 2;
const BODY_BYTES: u64 = 16 << 10;
/// Live, of the drive: the cleaner has to work, and finds room.
const LIVE_SHARE: f64 = 0.7;
/// Overwritten, times what is live, before and while it is measured.
const TURNS: [f64; 2] = [0.5, 1.5];

/// Microseconds of CPU for each MiB that the cleaner moves.
///
/// # Errors
/// When the drive can not be made or used.
pub fn measure(directory: &Path, core: usize, seed: u64) -> Result<f64, Failure> {
    eprintln!("calibrate: cleaner");
    // A thread of its own: it is pinned, and its CPU time is its own.
    let directory = directory.to_owned();
    let thread = std::thread::spawn(move || measure_here(&directory, core, seed));
    thread.join().unwrap_or_else(|_| Err(Failure::of("it ended in a panic")))
}

fn measure_here(directory: &Path, core: usize, seed: u64) -> Result<f64, Failure> {
    crate::bench::run::settle(Some(&[core])).map_err(Failure::of)?;
    let engine = SingleCore::format(&directory.join("cleaner.drive"), DRIVE_BYTES, SHARDS, seed, BODY_BYTES)?;
    let objects = (DRIVE_BYTES as f64 * LIVE_SHARE / BODY_BYTES as f64) as u64;
    // Without the cleaner: the drive is filled for the first time.
    let mut numbers = 0..objects;
    let filled = store(&engine, objects, move || numbers.next().unwrap_or_default())?;
    let turn = |turns: f64, seed: u64| {
        let mut random = fastrand::Rng::with_seed(seed);
        store(&engine, (objects as f64 * turns) as u64, move || random.u64(..objects))
    };
    turn(TURNS[0], seed)?;
    let cleaned = turn(TURNS[1], seed + 1)?;
    engine.close()?;
    let moved = cleaned.counters.moved_bytes as f64;
    if moved < MIB {
        return Err(Failure::of("the cleaner had nothing to do"));
    }
    let by_puts = filled.cpu_us / filled.counters.user_bytes as f64 * cleaned.counters.user_bytes as f64;
    Ok(((cleaned.cpu_us - by_puts) / (moved / MIB)).max(0.0))
}

/// What storing took.
struct Stored {
    cpu_us: f64,
    counters: Counters,
}

/// Stores so many objects, or overwrites them.
fn store(
    engine: &SingleCore,
    count: u64,
    mut number: impl FnMut() -> u64 + 'static,
) -> Result<Stored, Failure> {
    let (before, cpu) = (engine.counters(), thread_cpu_us());
    engine.put_many(count, move || (format!("objects/{:032}", number()), BODY_BYTES))?;
    Ok(Stored { cpu_us: thread_cpu_us() - cpu, counters: engine.counters().since(&before) })
}

fn thread_cpu_us() -> f64 {
    let usage = crate::bench::run::thread_usage();
    (usage.user_ns + usage.system_ns) as f64 / 1e3
}
