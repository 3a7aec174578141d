//! This module compares GET and PUT of 4 MiB objects with fio's sequential 1 MiB reads and writes,
//! with as many bytes in flight.

use crate::{AnyError, Bench};
use ringbolt_benches::engine_load::{
    LoadResult, ensure_bucket, get_object, object_body, object_key, put_object, run_load, store_objects,
};
use ringbolt_benches::fio::{FioJob, FioResult};
use ringbolt_benches::stats::median_of;
use ringbolt_benches::verdict::at_least;
use ringbolt_engine::types::BucketId;
use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

const OBJECT_BYTES: usize = 4 << 20;
/// The objects have 512 MiB: more than any relevant cache of the device, less than the drive.
const OBJECTS: u64 = 128;

pub fn run(bench: &mut Bench) -> Result<(), AnyError> {
    let bucket = bench.executor.run(ensure_bucket(&bench.core, "large"))??;
    let in_flight = bench.options.large_in_flight;
    println!("\n4 MiB objects, {in_flight} in flight; fio 1 MiB, {} in flight", 4 * in_flight);
    store_objects(&bench.executor, &bench.core, bucket, OBJECTS, OBJECT_BYTES, in_flight)?;
    let scratch = if bench.options.engine_only { None } else { Some(bench.scratch_file()?) };
    let mut gets: Vec<(LoadResult, FioResult)> = Vec::new();
    let mut puts: Vec<(LoadResult, FioResult)> = Vec::new();
    for repeat in 1..=bench.options.repeats {
        let get = get_turn(bench, bucket)?;
        print_engine(repeat, "GET", &get);
        if scratch.is_some() {
            gets.push((get, fio_turn(bench, &bench.drive, "read")?));
        }
        let put = put_turn(bench, bucket)?;
        print_engine(repeat, "PUT", &put);
        if let Some(scratch) = &scratch {
            puts.push((put, fio_turn(bench, scratch, "write")?));
        }
    }
    for (name, turns) in [("GET 4 MiB, bytes/s over fio's", gets), ("PUT 4 MiB, bytes/s over fio's", puts)] {
        if turns.is_empty() {
            continue;
        }
        let engine = median_of(&turns, |(engine, _)| engine.bytes_per_s);
        let fio = median_of(&turns, |(_, fio)| fio.bytes_per_s);
        bench.verdicts.judge(name, engine / fio, "x", at_least(0.85));
    }
    Ok(())
}

fn get_turn(bench: &Bench, bucket: BucketId) -> Result<LoadResult, AnyError> {
    let core = bench.core.clone();
    let next = Rc::new(Cell::new(0u64));
    let operation = move || {
        let (core, number) = (core.clone(), next.replace((next.get() + 1) % OBJECTS));
        async move { get_object(&core, bucket, number).await }
    };
    Ok(run_load(&bench.executor, bench.plan(bench.options.large_in_flight), operation)?)
}

fn put_turn(bench: &Bench, bucket: BucketId) -> Result<LoadResult, AnyError> {
    let core = bench.core.clone();
    let next = Rc::new(Cell::new(0u64));
    let bodies: Rc<Vec<Vec<u8>>> =
        Rc::new((0..OBJECTS).map(|number| object_body(number, OBJECT_BYTES)).collect());
    let operation = move || {
        let (core, number) = (core.clone(), next.replace((next.get() + 1) % OBJECTS));
        let bodies = bodies.clone();
        async move {
            put_object(&core, bucket, &object_key(number), &bodies[number as usize]).await?;
            Ok(OBJECT_BYTES as u64)
        }
    };
    Ok(run_load(&bench.executor, bench.plan(bench.options.large_in_flight), operation)?)
}

fn fio_turn(bench: &Bench, file: &Path, pattern: &str) -> Result<FioResult, AnyError> {
    let job = FioJob {
        file,
        pattern,
        block_bytes: 1 << 20,
        align_bytes: 0,
        depth: 4 * bench.options.large_in_flight as u32,
        size_bytes: 0,
        dsync: false,
        ramp_s: 1,
        runtime_s: bench.options.seconds,
        core: bench.options.core,
    };
    let result = job.run()?;
    println!(
        "   fio {pattern}: {:.0} MB/s, {:.0} us CPU/MiB",
        result.bytes_per_s / 1e6,
        result.cpu_us_per_io
    );
    Ok(result)
}

fn print_engine(repeat: usize, name: &str, result: &LoadResult) {
    println!(
        "{repeat}: {name} {:.0} MB/s, {:.0} us CPU/MiB, p50 {:.1} ms",
        result.bytes_per_s / 1e6,
        result.cpu_us_per_operation / 4.0,
        result.p50_us / 1000.0
    );
}
