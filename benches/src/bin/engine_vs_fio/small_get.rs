//! This module compares random GETs of stored 4 KiB objects at depth 32 with fio's random reads of
//! the same size on the same file.

use crate::{AnyError, Bench};
use ringbolt_benches::engine_load::{LoadResult, ensure_bucket, get_object, run_load, store_objects};
use ringbolt_benches::fio::{FioJob, FioResult};
use ringbolt_benches::stats::median_of;
use ringbolt_benches::verdict::{at_least, at_most};

const DEPTH: usize = 32;
const OBJECT_BYTES: usize = 4 << 10;
const BLOCK_BYTES: u64 = 4 << 10;

pub fn run(bench: &mut Bench) -> Result<(), AnyError> {
    let count = bench.options.objects;
    let bucket = bench.executor.run(ensure_bucket(&bench.core, "small"))??;
    let seconds = store_objects(&bench.executor, &bench.core, bucket, count, OBJECT_BYTES, 64)?;
    println!("\nGET 4 KiB, depth {DEPTH}: {count} objects stored in {seconds:.1} s");
    let mut engine: Vec<LoadResult> = Vec::new();
    let mut fio: Vec<FioResult> = Vec::new();
    for repeat in 1..=bench.options.repeats {
        let core = bench.core.clone();
        let result = run_load(&bench.executor, bench.plan(DEPTH), move || {
            let core = core.clone();
            async move { get_object(&core, bucket, fastrand::u64(..count)).await }
        })?;
        print!(
            "{repeat}: engine {:.0}/s, {:.2} us CPU, p50 {:.0} p99 {:.0} us, {:.0} B read each",
            result.operations_per_s,
            result.cpu_us_per_operation,
            result.p50_us,
            result.p99_us,
            result.device_read_bytes_per_operation
        );
        if bench.options.engine_only {
            println!();
            continue;
        }
        let io_bytes =
            (result.device_read_bytes_per_operation / BLOCK_BYTES as f64).round() as u64 * BLOCK_BYTES;
        let other = random_reads(bench, io_bytes.max(BLOCK_BYTES)).run()?;
        println!(
            " | fio bs={io_bytes} {:.0}/s, {:.2} us CPU, p50 {:.0} p99 {:.0} us",
            other.iops, other.cpu_us_per_io, other.p50_us, other.p99_us
        );
        engine.push(result);
        fio.push(other);
    }
    if !engine.is_empty() {
        let rate = median_of(&engine, |run| run.operations_per_s) / median_of(&fio, |run| run.iops);
        let cpu =
            median_of(&engine, |run| run.cpu_us_per_operation) / median_of(&fio, |run| run.cpu_us_per_io);
        bench.verdicts.judge("GET 4 KiB, rate over fio's", rate, "x", at_least(0.85));
        bench.verdicts.judge("GET 4 KiB, CPU over fio's", cpu, "x", at_most(2.0));
    }
    Ok(())
}

/// Returns reads with the same size and alignment as the engine's, over the whole drive file.
fn random_reads(bench: &Bench, io_bytes: u64) -> FioJob<'_> {
    FioJob {
        file: &bench.drive,
        pattern: "randread",
        block_bytes: io_bytes,
        align_bytes: BLOCK_BYTES,
        depth: DEPTH as u32,
        size_bytes: 0,
        dsync: false,
        ramp_s: 1,
        runtime_s: bench.options.seconds,
        core: bench.options.core,
    }
}
