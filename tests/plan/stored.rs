//! Space, memory and writes.

use crate::compare;
use crate::engine::{Engine, key};
use crate::scenario::{constants, hardware, mixed_sizes, workload};
use ringbolt_tests::binary;
use ringbolt_tools::plan::model;

const OBJECTS: u64 = 200_000;
/// Of a size that is four fifths full of them.
const DRIVE_BYTES: u64 = 4 << 30;
/// Overwritten before the writes are counted, and while they are.
const SETTLING: u64 = 200_000;
const COUNTED: u64 = 300_000;

/// Mean length of what neighbours in order have in common.
fn key_shared_bytes() -> f64 {
    let mut keys: Vec<String> = (0..OBJECTS).map(key).collect();
    keys.sort_unstable();
    let shared = |pair: &[String]| pair[0].bytes().zip(pair[1].bytes()).take_while(|(a, b)| a == b).count();
    keys.windows(2).map(shared).sum::<usize>() as f64 / OBJECTS as f64
}

#[test]
fn a_drive_takes_what_the_plan_says() {
    let sizes = mixed_sizes();
    let mut workload = workload(sizes.clone(), OBJECTS);
    workload.objects.key_shared_bytes = key_shared_bytes();
    workload.requests.put_per_s = 1.0;
    let plan = model::plan(&workload, &hardware(DRIVE_BYTES), &constants(), 0).expect("a plan");

    let directory = tempfile::Builder::new().prefix("plan-").tempdir_in(binary::scratch_dir());
    let directory = directory.expect("a directory");
    let largest = sizes.classes().last().expect("a class").upper_bytes;
    let engine = Engine::new(&directory.path().join("drive"), DRIVE_BYTES, largest);
    let mut random = fastrand::Rng::with_seed(5);
    let (mut next, of_size) = (0, sizes.clone());
    engine.put_many(OBJECTS, move || {
        next += 1;
        (next - 1, of_size.at_quantile(random.f64()))
    });
    let (fresh, filled) = (engine.space(), engine.counters());
    println!("{fresh:?}");
    let mut random = fastrand::Rng::with_seed(6);
    let overwrite = move || (random.u64(..OBJECTS), sizes.at_quantile(random.f64()));
    let again = overwrite.clone();
    engine.put_many(SETTLING, overwrite);
    let before = engine.counters();
    engine.put_many(COUNTED, again);
    let written = engine.counters().since(&before);
    let after = engine.space();
    println!("{after:?}\n{written:?}");
    engine.close();

    let user = filled.user_bytes as f64;
    compare("mean object, bytes", plan.layout.logical_bytes_per_object, user / OBJECTS as f64, 0.02);
    // Of what was sampled, so that the luck of the sample is not compared.
    let sampled = user / (plan.layout.logical_bytes_per_object * OBJECTS as f64);
    let stored = plan.months[0].stored_bytes * sampled;
    compare("drive use, live bytes", stored, fresh.live_bytes as f64, 0.03);
    let used = (fresh.physical_bytes - fresh.free_bytes) as f64;
    let kept = plan.node.checkpoint_bytes + plan.node.held_back_bytes;
    compare("drive use, not free for users, bytes", stored + kept, used, 0.03);
    let index = plan.layout.index_bytes_per_object * OBJECTS as f64;
    compare("index, bytes", index, fresh.index_bytes as f64, 0.10);
    let part = |bytes: u64| bytes as f64 / written.user_bytes as f64;
    println!(
        "  of it: moved {:.3} predicted {:.3}, checkpoints {:.3} predicted {:.3}; {:.1} records in a batch",
        part(written.moved_bytes),
        plan.endurance.write_amplification_cleaner,
        part(written.checkpoint_bytes),
        plan.endurance.write_amplification_checkpoints,
        written.records as f64 / written.batches as f64,
    );
    let amplification = plan.endurance.write_amplification;
    compare("write amplification", amplification, written.write_amplification(), 0.15);
}
