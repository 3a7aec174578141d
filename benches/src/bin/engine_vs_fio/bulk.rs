//! Storing many small objects quickly, for the measurements of memory and restart.

use crate::{AnyError, Bench};
use ringbolt_benches::engine_load::{ensure_bucket_of, store_objects};

/// Leaves objects `0..objects` in bucket `bench`.
pub fn run(bench: &mut Bench) -> Result<(), AnyError> {
    let (count, length) = (bench.options.objects, bench.options.object_bytes);
    let bucket = bench.executor.run(ensure_bucket_of(&bench.core, "bench", &bench.options.owner))??;
    let seconds = store_objects(&bench.executor, &bench.core, bucket, count, length, 256)?;
    println!("stored {count} objects of {length} bytes in {seconds:.1} s, {:.0}/s", count as f64 / seconds);
    Ok(())
}
