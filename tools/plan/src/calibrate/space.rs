//! What objects really take on a drive, against what they come to by the lengths of records and units: the engine in
//! this process, on small drives.
//!
//! Invariant: what is given is measured over counted, so 1 where the engine's arithmetic says it all.

use super::SHARDS;
use super::engine::{Failure, SingleCore};
use crate::model::cleaner::{LogState, log_writes};
use crate::model::layout::{alone_bytes, commit_bytes};
use ringbolt_engine::format::record::RECORD_ALIGNMENT;
use ringbolt_engine::node::Counters;
use ringbolt_engine::node::sizing::{self, ObjectShape, ObjectSizing};
use ringbolt_tool_common::units::MIB;
use std::path::Path;

const KEY_BYTES: usize = 40;

/// Bodies in their records.
const SMALL_DRIVE_BYTES: u64 = 2 << 30;
const SMALL_BYTES: u64 = 16 << 10;
/// Live, of the drive: the cleaner has to work, and finds room.
const SMALL_LIVE_SHARE: f64 = 0.7;
/// Overwritten, times what is live, before and while it is measured.
const SMALL_TURNS: [f64; 2] = [0.7, 0.7];

/// Bodies in slices: from the shortest up to a full one and a bit.
const LARGE_DRIVE_BYTES: u64 = 4 << 30;
const LARGE_BYTES: [u64; 2] = [sizing::INLINE_BYTES_MAX + 1, 5 << 20];
/// Live, of the drive, and how often all of that is overwritten: nearly full, as a drive with room leaves gaps as they
/// are; the mean of all times, as gaps come and go.
const LARGE_LIVE_SHARE: f64 = 0.77;
const LARGE_TURNS: usize = 4;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpaceCosts {
    pub large: LargeCosts,
    pub small: SmallCosts,
}

/// Of objects that lie in slices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LargeCosts {
    /// Live bytes over units and records as they are counted.
    pub alignment: f64,
    /// Bytes of gaps for each byte of slices that are no full ones.
    pub tail_gaps: f64,
}

/// Of objects that lie in the log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SmallCosts {
    /// Bytes that puts wrote, over records with headers and padding as they are counted.
    pub log: f64,
    /// Bytes that the cleaner moved, over what its formula says.
    pub cleaner: f64,
    /// Microseconds of CPU for each MiB that it moves.
    pub clean_cpu_us_per_mib: f64,
}

/// Measures all, on a thread pinned to `core`.
///
/// # Errors
/// When a drive can not be made or used.
pub fn measure(
    directory: &Path,
    core: usize,
    seed: u64,
    checkpoint_share: f64,
) -> Result<SpaceCosts, Failure> {
    // A thread of its own: it is pinned, and its CPU time is its own.
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
    sizing::object(&ObjectShape { key_bytes: KEY_BYTES, attribute_bytes: 0, body_bytes, part_bytes: None })
}

fn large(drive: &Path, seed: u64) -> Result<LargeCosts, Failure> {
    let [least, most] = LARGE_BYTES;
    let count = (LARGE_DRIVE_BYTES as f64 * LARGE_LIVE_SHARE / ((least + most) as f64 / 2.0)) as usize;
    let engine = SingleCore::format(drive, LARGE_DRIVE_BYTES, SHARDS, seed, most)?;
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut alignments, mut tail_gaps) = (Vec::new(), Vec::new());
    for turn in 0..=LARGE_TURNS {
        // Each time in another order, so that no object is put twice at one time: what is live then is counted.
        let mut order: Vec<usize> = (0..count).collect();
        random.shuffle(&mut order);
        let sizes: Vec<u64> = (0..count).map(|_| random.u64(least..=most)).collect();
        let objects: Vec<ObjectSizing> = sizes.iter().map(|bytes| sizing(*bytes)).collect();
        let mut items = order.into_iter().map(move |at| (key(at as u64), sizes[at]));
        engine.put_many(count as u64, move || items.next().unwrap_or_default())?;
        // The first time there is nothing to leave gaps.
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
    // Without the cleaner: the drive is filled for the first time.
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
    // All that is put takes the place of something.
    let log = filled.counters.log_bytes as f64 / counted_bytes(&filled.counters);
    let formula = log_writes(&drive, &state, 1.0).moved_bytes * counted_bytes(&cleaned.counters) * log;
    let by_puts = filled.cpu_us / filled.counters.user_bytes as f64 * cleaned.counters.user_bytes as f64;
    Ok(SmallCosts {
        log,
        cleaner: moved / formula,
        clean_cpu_us_per_mib: ((cleaned.cpu_us - by_puts) / (moved / MIB)).max(0.0),
    })
}

/// Written to the log by puts of [`SMALL_BYTES`], as the plan counts it.
fn counted_bytes(counters: &Counters) -> f64 {
    let puts = counters.user_bytes as f64 / SMALL_BYTES as f64;
    let records = counters.records as f64 / counters.batches as f64;
    let record = sizing(SMALL_BYTES).record_bytes.next_multiple_of(RECORD_ALIGNMENT as u64) as f64;
    commit_bytes(record, alone_bytes(record), records) / records * puts
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
    engine.put_many(count, move || (key(number()), SMALL_BYTES))?;
    Ok(Stored { cpu_us: thread_cpu_us() - cpu, counters: engine.counters().since(&before) })
}

fn thread_cpu_us() -> f64 {
    let usage = ringbolt_bench::run::thread_usage();
    (usage.user_ns + usage.system_ns) as f64 / 1e3
}
