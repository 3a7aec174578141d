//! This module compares durable 4 KiB PUTs with 64 in flight with those with 1 in flight, and with
//! fio's synchronous writes.

use crate::{AnyError, Bench};
use ringbolt_benches::engine_load::{
    LoadResult, ensure_bucket, object_body, object_key, put_object, run_load,
};
use ringbolt_benches::fio::{FioJob, FioResult};
use ringbolt_benches::stats::{median, median_of};
use ringbolt_benches::verdict::{at_least, at_most};
use ringbolt_engine::node::Counters;
use ringbolt_engine::types::BucketId;
use std::rc::Rc;

const OBJECT_BYTES: usize = 4 << 10;
/// The objects are overwritten at random, so that the log always has dead records for the cleaner
/// and the drive never fills.
const OBJECTS: u64 = 20_000;
const DEEP: usize = 64;

pub fn run(bench: &mut Bench) -> Result<(), AnyError> {
    let bucket = bench.executor.run(ensure_bucket(&bench.core, "durable"))??;
    println!("\nPUT 4 KiB, durable: 1 and {DEEP} in flight; fio write 4 KiB --sync=dsync depth 1");
    let scratch = if bench.options.engine_only { None } else { Some(bench.scratch_file()?) };
    let mut turns: Vec<(LoadResult, LoadResult)> = Vec::new();
    let mut fio: Vec<FioResult> = Vec::new();
    let mut durability: Vec<f64> = Vec::new();
    for repeat in 1..=bench.options.repeats {
        let alone = put_turn(bench, bucket, 1)?;
        print_engine(repeat, 1, &alone);
        if let Some(scratch) = &scratch {
            let job = FioJob {
                file: scratch,
                pattern: "write",
                block_bytes: OBJECT_BYTES as u64,
                align_bytes: 0,
                depth: 1,
                size_bytes: 0,
                dsync: true,
                ramp_s: 1,
                runtime_s: bench.options.seconds,
                core: bench.options.core,
            };
            let result = job.run()?;
            println!(
                "   fio: {:.0}/s, {:.2} us CPU, p50 {:.0} p99 {:.0} us",
                result.iops, result.cpu_us_per_io, result.p50_us, result.p99_us
            );
            fio.push(result);
        }
        let before = bench.core.counters();
        let deep = put_turn(bench, bucket, DEEP)?;
        print_engine(repeat, DEEP, &deep);
        durability.push(print_durability(&before, &bench.core.counters()));
        turns.push((alone, deep));
    }
    let rate = |pick: fn(&(LoadResult, LoadResult)) -> f64| median_of(&turns, pick);
    let gain = rate(|turn| turn.1.operations_per_s) / rate(|turn| turn.0.operations_per_s);
    bench.verdicts.judge("PUT 4 KiB, rate at 64 in flight over 1", gain, "x", at_least(4.0));
    let name = "PUT 4 KiB at 64 in flight, flushes and synchronous writes for each batch";
    bench.verdicts.judge(name, median(&durability), "", at_most(1.3));
    if !fio.is_empty() {
        let latency = rate(|turn| turn.0.p50_us) / median_of(&fio, |run| run.p50_us);
        bench.verdicts.judge("PUT 4 KiB alone, p50 over fio's dsync write", latency, "x", at_most(1.5));
    }
    Ok(())
}

fn put_turn(bench: &Bench, bucket: BucketId, depth: usize) -> Result<LoadResult, AnyError> {
    let core = bench.core.clone();
    let body = Rc::new(object_body(0, OBJECT_BYTES));
    let operation = move || {
        let (core, body) = (core.clone(), body.clone());
        async move {
            let key = object_key(fastrand::u64(..OBJECTS));
            put_object(&core, bucket, &key, &body).await?;
            Ok(body.len() as u64)
        }
    };
    Ok(run_load(&bench.executor, bench.plan(depth), operation)?)
}

/// Prints what made the batches between two samples durable, for each batch.
fn print_durability(before: &Counters, after: &Counters) -> f64 {
    let batches = (after.batches - before.batches) as f64;
    let synchronous = (after.synchronous_writes - before.synchronous_writes) as f64;
    let flushes = (after.flushes - before.flushes) as f64;
    println!(
        "   {:.1} records in a batch; {:.2} synchronous writes and {:.2} flushes for each batch",
        (after.records - before.records) as f64 / batches,
        synchronous / batches,
        flushes / batches
    );
    (synchronous + flushes) / batches
}

fn print_engine(repeat: usize, depth: usize, result: &LoadResult) {
    println!(
        "{repeat}: engine at {depth}: {:.0}/s, {:.2} us CPU, p50 {:.0} p99 {:.0} us, {:.0} B written each",
        result.operations_per_s,
        result.cpu_us_per_operation,
        result.p50_us,
        result.p99_us,
        result.device_write_bytes_per_operation
    );
}
