//! This module measures the space that objects need on a drive, relative to the computed lengths of
//! records and units. It runs the engine in this process, on small drives.
//!
//! Invariant: results are measured over computed values, so they are 1 where the engine's
//! arithmetic is exact.

use super::SHARDS;
use super::engine::{Failure, SingleCore};
use crate::model::cleaner::{LogState, log_writes};
use crate::model::layout::{alone_bytes, commit_bytes};
use ringbolt_engine::node::Counters;
use ringbolt_engine::node::sizing::RECORD_ALIGNMENT;
use ringbolt_engine::node::sizing::{self, ObjectShape, ObjectSizing, Shape};
use ringbolt_tool_common::units::MIB;
use std::path::Path;

const KEY_BYTES: usize = 40;

/// This drive is for inline objects.
const SMALL_DRIVE_BYTES: u64 = 2 << 30;
const SMALL_BYTES: u64 = 16 << 10;
/// This is the live share of the drive: the cleaner has to work, and finds space.
const SMALL_LIVE_SHARE: f64 = 0.7;
/// This is how many times the live objects are overwritten, before and during the measurement.
const SMALL_TURNS: [f64; 2] = [0.7, 0.7];

/// This drive is for objects in slices: from the shortest up to a little more than a full one.
const LARGE_DRIVE_BYTES: u64 = 4 << 30;
const LARGE_BYTES: [u64; 2] = [sizing::INLINE_BYTES_MAX + 1, 5 << 20];
/// This is the live share of the drive, and how often all of it is overwritten. The drive is nearly
/// full, because one with free space leaves gaps as they are; the mean of all times counts, because
/// gaps come and go.
const LARGE_LIVE_SHARE: f64 = 0.77;
const LARGE_TURNS: usize = 4;

/// Holds the measured costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpaceCosts {
    pub large: LargeCosts,
    pub small: SmallCosts,
}

/// Holds the costs of objects in slices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LargeCosts {
    /// This is the ratio of live bytes to the computed units and records.
    pub alignment: f64,
    /// This is the size of the gaps for each byte of slices that are not full.
    pub tail_gaps: f64,
}

/// Holds the costs of objects in the log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SmallCosts {
    /// This is the ratio of the bytes that puts wrote to the records with computed headers and
    /// padding.
    pub log: f64,
    /// This is the ratio of the bytes that the cleaner moved to its formula.
    pub cleaner: f64,
    /// This is the CPU time in microseconds for each MiB that the cleaner moves.
    pub clean_cpu_us_per_mib: f64,
}

/// Makes all measurements, on a thread pinned to `core`.
///
/// # Errors
/// Fails when a drive cannot be created or used.
pub fn measure(
    directory: &Path,
    core: usize,
    seed: u64,
    checkpoint_share: f64,
) -> Result<SpaceCosts, Failure> {
    // The measurement has a thread of its own, which is pinned and has its own CPU time.
    let directory = directory.to_owned();
    let thread = std::thread::spawn(move || {
        ringbolt_bench::run::settle(Some(&[core])).map_err(Failure::of)?;
        eprintln!("calibrate: large objects on a drive");
        let large = large(&directory.join("large.drive"), seed)?;
        eprintln!("calibrate: the log and its cleaner");
        let small = small(&directory.join("small.drive"), seed, checkpoint_share)?;
        Ok(SpaceCosts { large, small })
    });
    thread.join().unwrap_or_else(|_| Err(Failure::of("it ended in a panic")))
}

fn key(number: u64) -> String {
    format!("objects/{number:0width$}", width = KEY_BYTES - 8)
}

fn sizing(body_bytes: u64) -> ObjectSizing {
    let shape = ObjectShape { key_bytes: KEY_BYTES, attribute_bytes: 0, body_bytes, part_bytes: None };
    sizing::object(Shape::PLAIN, &shape)
}

fn large(drive: &Path, seed: u64) -> Result<LargeCosts, Failure> {
    let [least, most] = LARGE_BYTES;
    let count = (LARGE_DRIVE_BYTES as f64 * LARGE_LIVE_SHARE / ((least + most) as f64 / 2.0)) as usize;
    let engine = SingleCore::format(drive, LARGE_DRIVE_BYTES, SHARDS, seed, most)?;
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut alignments, mut tail_gaps) = (Vec::new(), Vec::new());
    for turn in 0..=LARGE_TURNS {
        // The order differs each time, so that no object is put twice at the same time; the live
        // bytes are counted at the end.
        let mut order: Vec<usize> = (0..count).collect();
        random.shuffle(&mut order);
        let sizes: Vec<u64> = (0..count).map(|_| random.u64(least..=most)).collect();
        let objects: Vec<ObjectSizing> = sizes.iter().map(|bytes| sizing(*bytes)).collect();
        let mut items = order.into_iter().map(move |at| (key(at as u64), sizes[at]));
        engine.put_many(count as u64, move || items.next().unwrap_or_default())?;
        // After the first fill there are no gaps yet.
        if turn > 0 {
            let space = engine.space()?;
            let counted: u64 = objects.iter().map(|object| object.record_bytes + object.slice_bytes).sum();
            let tails: u64 = objects.iter().map(|object| object.tail_bytes).sum();
            alignments.push(space.live_bytes as f64 / counted as f64);
            tail_gaps.push(space.gap_bytes as f64 / tails as f64);
        }
    }
    engine.close()?;
    Ok(LargeCosts { alignment: mean(&alignments), tail_gaps: mean(&tail_gaps) })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn small(drive: &Path, seed: u64, checkpoint_share: f64) -> Result<SmallCosts, Failure> {
    let engine = SingleCore::format(drive, SMALL_DRIVE_BYTES, SHARDS, seed, SMALL_BYTES)?;
    let objects = (SMALL_DRIVE_BYTES as f64 * SMALL_LIVE_SHARE / SMALL_BYTES as f64) as u64;
    // The drive is filled for the first time, so the cleaner does nothing.
    let mut numbers = 0..objects;
    let filled = store(&engine, objects, move || numbers.next().unwrap_or_default())?;
    let turn = |turns: f64, seed: u64| {
        let mut random = fastrand::Rng::with_seed(seed);
        store(&engine, (objects as f64 * turns) as u64, move || random.u64(..objects))
    };
    turn(SMALL_TURNS[0], seed)?;
    let cleaned = turn(SMALL_TURNS[1], seed + 1)?;
    let index_bytes = engine.space()?.index_bytes as f64;
    engine.close()?;
    let moved = cleaned.counters.moved_bytes as f64;
    if moved < MIB {
        return Err(Failure::of("the cleaner had nothing to do"));
    }
    let record_bytes = sizing(SMALL_BYTES).record_bytes;
    let state = LogState {
        live_bytes: (objects * record_bytes) as f64,
        slice_extents: 0.0,
        slice_bytes_by_log_byte: 0.0,
        index_bytes,
        checkpoint_bytes: index_bytes * checkpoint_share,
        moved_bytes_factor: 1.0,
    };
    let drive = sizing::drive(SMALL_DRIVE_BYTES, u64::from(SHARDS));
    // Every put replaces an object.
    let log = filled.counters.log_bytes as f64 / counted_bytes(&filled.counters);
    let formula = log_writes(&drive, &state, 1.0).moved_bytes * counted_bytes(&cleaned.counters) * log;
    let by_puts = filled.cpu_us / filled.counters.user_bytes as f64 * cleaned.counters.user_bytes as f64;
    Ok(SmallCosts {
        log,
        cleaner: moved / formula,
        clean_cpu_us_per_mib: ((cleaned.cpu_us - by_puts) / (moved / MIB)).max(0.0),
    })
}

/// Returns the bytes written to the log by puts of [`SMALL_BYTES`], as the plan computes them.
fn counted_bytes(counters: &Counters) -> f64 {
    let puts = counters.user_bytes as f64 / SMALL_BYTES as f64;
    let records = counters.records as f64 / counters.batches as f64;
    let record = sizing(SMALL_BYTES).record_bytes.next_multiple_of(RECORD_ALIGNMENT as u64) as f64;
    commit_bytes(record, alone_bytes(record), records) / records * puts
}

/// Holds the costs of storing.
struct Stored {
    cpu_us: f64,
    counters: Counters,
}

/// Stores or overwrites this many objects.
fn store(
    engine: &SingleCore,
    count: u64,
    mut number: impl FnMut() -> u64 + 'static,
) -> Result<Stored, Failure> {
    let (before, cpu) = (engine.counters(), thread_cpu_us());
    engine.put_many(count, move || (key(number()), SMALL_BYTES))?;
    Ok(Stored { cpu_us: thread_cpu_us() - cpu, counters: engine.counters().since(&before) })
}

fn thread_cpu_us() -> f64 {
    let usage = ringbolt_bench::run::thread_usage();
    (usage.user_ns + usage.system_ns) as f64 / 1e3
}
