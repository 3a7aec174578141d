//! This module deletes and stores large objects of random sizes on a drive that is 90% full, until
//! twenty times the drive's size was stored; then it compares reads with those of the fresh drive.

use crate::fill::{Stored, body_from, fill, total, usable_bytes};
use crate::{AnyError, Bench, Options};
use ringbolt_benches::engine_load::{LoadPlan, get_object, object_body, object_key, put_object, run_load};
use ringbolt_benches::verdict::{Verdicts, at_least};
use ringbolt_engine::EngineError;
use ringbolt_engine::types::WriteCondition;
use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::{Duration, Instant};

const SIZES: RangeInclusive<u64> = 128 << 10..=16 << 20;
const DEPTH: usize = 4;

pub fn run(options: &Options, verdicts: &mut Verdicts) -> Result<(), AnyError> {
    println!("large objects on {} MiB, {} shards", options.size_mib, options.shards);
    let fresh = Bench::open(options, "aging-full.bin")?;
    let usable = usable_bytes(&fresh, SIZES, DEPTH)?;
    fresh.close()?;
    let bench = Bench::open(options, "aging.bin")?;
    let limit = usable * options.large_percent / 100;
    let (mut stored, _) = fill(&bench, SIZES, limit, DEPTH)?;
    println!("   stored {:.1} MB, {}% of that", total(&stored) as f64 / 1e6, options.large_percent);
    bench.print_space()?;
    let fresh_rate = read(&bench, &stored)?;
    let fresh_run = mean_run(&bench)?;

    let refused = age(&bench, &mut stored, limit)?;
    bench.print_space()?;
    let aged_rate = read(&bench, &stored)?;
    println!("   mean run {fresh_run:.3} slices fresh, {:.3} aged", mean_run(&bench)?);
    println!("   GET {:.0} MB/s fresh, {:.0} MB/s aged", fresh_rate / 1e6, aged_rate / 1e6);
    verdicts.judge("large PUTs that found room", 100.0 - refused * 100.0, "%", at_least(100.0));
    verdicts.judge("GET throughput, aged drive over fresh", aged_rate / fresh_rate, "x", at_least(0.7));
    bench.close()
}

/// Returns the mean number of contiguous slices over all runs.
fn mean_run(bench: &Bench) -> Result<f64, AnyError> {
    Ok(bench.executor.run(bench.core.space())??.runs.mean_slices())
}

/// Reads whole objects at random, and returns bytes per second.
fn read(bench: &Bench, stored: &Stored) -> Result<f64, AnyError> {
    let (core, bucket) = (bench.core.clone(), bench.bucket);
    let numbers: Rc<Vec<u64>> = Rc::new(stored.iter().map(|(number, _)| *number).collect());
    let random = Rc::new(RefCell::new(fastrand::Rng::with_seed(bench.options.seed)));
    let plan = LoadPlan {
        depth: DEPTH,
        ramp: Duration::from_secs(1),
        runtime: Duration::from_secs(bench.options.seconds),
    };
    let operation = move || {
        let number = numbers[random.borrow_mut().usize(..numbers.len())];
        let core = core.clone();
        async move { get_object(&core, bucket, number).await }
    };
    Ok(run_load(&bench.executor, plan, operation)?.bytes_per_s)
}

/// Deletes objects at random and stores others, up to `limit` bytes at any time. Returns the share
/// of the PUTs that were refused.
fn age(bench: &Bench, stored: &mut Stored, limit: u64) -> Result<f64, AnyError> {
    let mut random = fastrand::Rng::with_seed(bench.options.seed + 2);
    let target = bench.drive_bytes() * bench.options.large_turns;
    let (mut written, mut live, mut puts, mut refused) = (0, total(stored), 0u64, 0u64);
    let mut next = stored.iter().map(|(number, _)| number + 1).max().unwrap_or(0);
    let body = object_body(0, *SIZES.end() as usize);
    let started = Instant::now();
    while written < target {
        let size = random.u64(SIZES);
        let mut leaving = Vec::new();
        while live + size > limit && !stored.is_empty() {
            let (number, bytes) = stored.swap_remove(random.usize(..stored.len()));
            live -= bytes;
            leaving.push(number);
        }
        let number = next;
        let outcome = bench.executor.run(async {
            for number in leaving {
                let key = object_key(number);
                bench.core.delete(bench.bucket, key.as_bytes(), WriteCondition::default()).await?;
            }
            let body = body_from(&body, number, size);
            put_object(&bench.core, bench.bucket, &object_key(number), &body).await
        })?;
        puts += 1;
        next += 1;
        match outcome {
            Ok(()) => {
                stored.push((number, size));
                live += size;
                written += size;
            }
            Err(EngineError::NoSpace { .. }) if refused * 2 <= puts => refused += 1,
            Err(error) => return Err(error.into()),
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "   stored {:.1} GB anew in {seconds:.0} s; {refused} of {puts} PUTs refused; write amplification {:.3}, \
         {:.2} GB of slices moved",
        written as f64 / 1e9,
        bench.core.counters().write_amplification(),
        bench.core.counters().relocated_bytes as f64 / 1e9
    );
    Ok(refused as f64 / puts as f64)
}
