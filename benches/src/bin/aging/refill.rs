//! This module deletes a third of a full drive and puts it again: what latency do PUTs have while
//! the space is reclaimed?
//!
//! Each turn has two phases on the same drive. In the quiet phase, a third of what is stored is
//! deleted, the space is reclaimed without load, and then PUTs at a fixed rate fill the drive
//! again. In the busy phase, another third is deleted as fast as possible, and the PUTs begin, at
//! the same rate, once a tenth of it is deleted.

use crate::fill::{Stored, body_from, fill, total};
use crate::{AnyError, Bench, Options};
use ringbolt_benches::engine_load::{LoadError, object_body, object_key, put_object};
use ringbolt_benches::stats::median_of;
use ringbolt_benches::steady::{Operation, measure};
use ringbolt_benches::verdict::{Verdicts, at_most};
use ringbolt_engine::EngineError;
use ringbolt_engine::types::WriteCondition;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::rc::Rc;

/// The sizes include inline objects and slices.
const SIZES: RangeInclusive<u64> = 16 << 10..=512 << 10;
const DEPTH: usize = 16;
/// After each phase the drive is full again to this percentage of what it accepted at first,
/// because gaps of other sizes need not fit.
const FULL_PERCENT: u64 = 97;
/// In the quiet phase, the space is reclaimed for this many milliseconds.
const REST_MS: u64 = 3000;

/// Holds the latencies of one phase's PUTs.
struct Phase {
    p50_us: f64,
    p99_us: f64,
    refused: u64,
    puts: u64,
}

pub fn run(options: &Options, verdicts: &mut Verdicts) -> Result<(), AnyError> {
    println!("a third put again on {} MiB, {} shards", options.size_mib, options.shards);
    let bench = Bench::open(options, "aging.bin")?;
    let (mut stored, full) = fill(&bench, SIZES, u64::MAX, DEPTH)?;
    println!(
        "   full: {full}, with {} objects of {:.1} MB together",
        stored.len(),
        total(&stored) as f64 / 1e6
    );
    bench.print_space()?;
    let limit = total(&stored) * FULL_PERCENT / 100;
    let mut random = fastrand::Rng::with_seed(options.seed + 3);
    let (mut ratios, mut refused, mut puts) = (Vec::new(), 0, 0);
    for turn in 1..=options.refill_turns {
        let [quiet, busy] =
            [true, false].map(|quiet| phase(&bench, (&mut stored, limit), &mut random, quiet));
        let (quiet, busy) = (quiet?, busy?);
        println!(
            "   {turn}: PUT p50 {:.0} us quiet, {:.0} us busy; p99 {:.0} us quiet, {:.0} us busy; {} and {} refused",
            quiet.p50_us, busy.p50_us, quiet.p99_us, busy.p99_us, quiet.refused, busy.refused
        );
        ratios.push(busy.p99_us / quiet.p99_us);
        refused += quiet.refused + busy.refused;
        puts += quiet.puts + busy.puts;
    }
    bench.print_space()?;
    println!(
        "   {refused} of {puts} PUTs refused, the last of each phase: what is left is in gaps of other sizes"
    );
    let ratio = median_of(&ratios, |ratio| *ratio);
    verdicts.judge("PUT p99 while a third is deleted and put again, over quiet", ratio, "x", at_most(2.0));
    bench.close()
}

/// Holds what is still to be put, and what was put.
struct Puts {
    sizes: RefCell<VecDeque<(u64, u64)>>,
    stored: RefCell<Stored>,
    refused: Cell<u64>,
    bytes: Vec<u8>,
}

fn phase(
    bench: &Bench,
    (stored, limit): (&mut Stored, u64),
    random: &mut fastrand::Rng,
    quiet: bool,
) -> Result<Phase, AnyError> {
    random.shuffle(stored);
    let leaving = stored.split_off(stored.len() - stored.len() / 3);
    let next = stored.iter().chain(&leaving).map(|(number, _)| number + 1).max().unwrap_or(0);
    let mut left = limit - total(stored);
    let sizes = std::iter::from_fn(|| {
        let size = random.u64(SIZES);
        left = left.checked_sub(size)?;
        Some(size)
    });
    let sizes: VecDeque<(u64, u64)> = (next..).zip(sizes).collect();
    let count = sizes.len() as u64;
    let puts = Rc::new(Puts {
        sizes: RefCell::new(sizes),
        stored: RefCell::default(),
        refused: Cell::new(0),
        bytes: object_body(0, *SIZES.end() as usize),
    });
    delete(bench, leaving, quiet)?;
    let (core, bucket, own) = (bench.core.clone(), bench.bucket, puts.clone());
    let put: Operation = Rc::new(move || {
        let (core, puts) = (core.clone(), own.clone());
        Box::pin(async move {
            let Some((number, size)) = puts.sizes.borrow_mut().pop_front() else {
                return Err(LoadError::NothingMeasured);
            };
            let body = body_from(&puts.bytes, number, size);
            match put_object(&core, bucket, &object_key(number), &body).await {
                Ok(()) => puts.stored.borrow_mut().push((number, size)),
                Err(EngineError::NoSpace { .. }) => puts.refused.set(puts.refused.get() + 1),
                Err(error) => return Err(error.into()),
            }
            Ok(size)
        })
    });
    let [latency] = measure(&bench.executor, bench.options.refill_rate, count, &[put])?;
    stored.extend(puts.stored.take());
    Ok(Phase { p50_us: latency.p50_us, p99_us: latency.p99_us, refused: puts.refused.get(), puts: count })
}

/// Deletes objects, `DEPTH` at a time. Returns when all are deleted and their space has had time to
/// be reclaimed, or when a tenth is deleted and the rest is in progress.
fn delete(bench: &Bench, leaving: Stored, quiet: bool) -> Result<(), AnyError> {
    let enough = if quiet { leaving.len() } else { leaving.len() / 10 };
    let leaving = Rc::new(RefCell::new(leaving));
    let gone = Rc::new(Cell::new(0));
    for _ in 0..DEPTH {
        let (core, bucket, leaving, gone) = (bench.core.clone(), bench.bucket, leaving.clone(), gone.clone());
        bench.executor.spawn(async move {
            loop {
                let Some((number, _)) = leaving.borrow_mut().pop() else { return };
                let deleted =
                    core.delete(bucket, object_key(number).as_bytes(), WriteCondition::default()).await;
                deleted.unwrap_or_else(|error| panic!("object {number} is not deleted: {error}"));
                gone.set(gone.get() + 1);
            }
        });
    }
    let environment = bench.executor.environment();
    bench.executor.run(async move {
        while gone.get() < enough {
            environment.sleep(1).await;
        }
        if quiet {
            environment.sleep(REST_MS).await;
        }
    })?;
    Ok(())
}
