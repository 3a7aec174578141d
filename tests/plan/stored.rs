//! This module compares space, memory and writes.

use crate::scenario::{
    KEY_BYTES, PUT_PER_S, SHARDS, calibrated, constants, hardware, mixed_sizes, small_sizes, workload,
};
use crate::{compare, directory, own_machine};
use ringbolt_engine::node::Counters;
use ringbolt_plan::calibrate::engine::SingleCore;
use ringbolt_plan::hardware::Redundancy;
use ringbolt_plan::model;
use ringbolt_plan::result::Plan;
use ringbolt_plan::sizes::{SizeHistogram, shared_bytes};

const OBJECTS: u64 = 200_000;
/// This many objects are overwritten before the writes are counted, and `COUNTED` while they are.
const SETTLING: u64 = 200_000;
const COUNTED: u64 = 200_000;

/// Returns a key of [`KEY_BYTES`] bytes. The number is hashed first: neighbouring keys share
/// little, as hashes and names do.
fn key(number: u64) -> String {
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{spread:016x}{number:0width$}", width = KEY_BYTES - 16)
}

/// Returns the mean length of the common prefix of neighbours in order.
fn key_shared_bytes() -> f64 {
    let mut keys: Vec<String> = (0..OBJECTS).map(key).collect();
    keys.sort_unstable();
    let shared = |pair: &[String]| shared_bytes(pair[1].as_bytes(), pair[0].as_bytes());
    keys.windows(2).map(shared).sum::<usize>() as f64 / OBJECTS as f64
}

fn planned(sizes: &SizeHistogram, drive_bytes: u64) -> Plan {
    let mut workload = workload(sizes.clone(), OBJECTS);
    workload.objects.key_shared_bytes = key_shared_bytes();
    workload.requests.put_per_s = PUT_PER_S;
    model::plan(&workload, &hardware(drive_bytes), &calibrated(), 0).expect("a plan")
}

/// Returns an engine with all objects stored.
fn filled(drive: &tempfile::TempDir, sizes: &SizeHistogram, drive_bytes: u64) -> SingleCore {
    let largest = sizes.classes().last().expect("a class").upper_bytes;
    let engine =
        SingleCore::format(&drive.path().join("drive"), drive_bytes, SHARDS, 1, largest).expect("a node");
    let (mut random, mut next, sizes) = (fastrand::Rng::with_seed(5), 0, sizes.clone());
    let all = engine.put_many(OBJECTS, move || {
        next += 1;
        (key(next - 1), sizes.at_quantile(random.f64()))
    });
    all.expect("objects");
    engine
}

#[test]
fn a_drive_and_the_index_take_what_the_plan_says() {
    let _alone = own_machine();
    let (sizes, drive_bytes) = (mixed_sizes(), 4 << 30);
    let plan = planned(&sizes, drive_bytes);
    let directory = directory();
    let engine = filled(&directory, &sizes, drive_bytes);
    let (space, counters) = (engine.space().expect("the space"), engine.counters());
    engine.close().expect("a closed node");
    let user = counters.user_bytes as f64;
    compare("mean object, bytes", plan.layout.logical_bytes_per_object, user / OBJECTS as f64, 0.03);
    // The comparison is with what was sampled, so that the luck of the sample has no effect.
    let sampled = user / (plan.layout.logical_bytes_per_object * OBJECTS as f64);
    let stored = plan.months[0].stored_bytes * sampled;
    compare("drive use, live bytes", stored, space.live_bytes as f64, 0.03);
    let used = (space.physical_bytes - space.free_bytes) as f64;
    let kept = plan.node.checkpoint_bytes + plan.node.held_back_bytes;
    compare("drive use, not free for users, bytes", stored + kept, used, 0.03);
    let index = plan.layout.index_bytes_per_object * OBJECTS as f64;
    compare("index, bytes", index, space.index_bytes as f64, 0.10);
}

/// The engine has no pieces yet: each is stored as an object of its own, as the plan counts it.
#[test]
fn pieces_of_objects_take_what_the_plan_says() {
    const WHOLE: u64 = 20_000;
    let _alone = own_machine();
    let (sizes, drive_bytes) = (mixed_sizes(), 2 << 30);
    for (data, parity) in [(8, 3), (1, 1)] {
        let mut hardware = hardware(drive_bytes);
        hardware.redundancy = Redundancy::pieces(data, parity);
        let plan = model::plan(&workload(sizes.clone(), WHOLE), &hardware, &constants(), 0).expect("a plan");
        let directory = directory();
        let drive = directory.path().join("drive");
        let engine = SingleCore::format(&drive, drive_bytes, SHARDS, 1, 2_000_000).expect("a node");
        let (mut random, mut next, mut body_bytes) = (fastrand::Rng::with_seed(5), 0, 0);
        let (pieces, sizes) = (u64::from(data + parity), sizes.clone());
        let all = engine.put_many(WHOLE * pieces, move || {
            if next % pieces == 0 {
                body_bytes = sizes.at_quantile(random.f64());
            }
            next += 1;
            (key(next - 1), body_bytes.div_ceil(u64::from(data)))
        });
        all.expect("pieces");
        let live_bytes = engine.space().expect("the space").live_bytes as f64;
        let user = engine.counters().user_bytes as f64 * f64::from(data) / pieces as f64;
        engine.close().expect("a closed node");
        // The comparison is with what was sampled, so that the luck of the sample has no effect.
        let sampled = user / (plan.layout.logical_bytes_per_object * WHOLE as f64);
        let stored = plan.months[0].stored_bytes * sampled;
        compare(&format!("{data} + {parity} pieces, live bytes"), stored, live_bytes, 0.03);
    }
}

/// The objects are in the log, on a drive so full that the cleaner has to work for each of them.
#[test]
fn overwrites_are_amplified_as_the_plan_says() {
    overwritten(&small_sizes(), 2_400 << 20);
}

/// Half of the bytes are in slices, which leave gaps.
#[test]
fn overwrites_of_large_objects_are_amplified_as_the_plan_says() {
    overwritten(&mixed_sizes(), 4 << 30);
}

fn overwritten(sizes: &SizeHistogram, drive_bytes: u64) {
    let _alone = own_machine();
    let plan = planned(sizes, drive_bytes);
    let directory = directory();
    let engine = filled(&directory, sizes, drive_bytes);
    let (mut random, sizes) = (fastrand::Rng::with_seed(6), sizes.clone());
    let overwrite = move || (key(random.u64(..OBJECTS)), sizes.at_quantile(random.f64()));
    engine.put_many(SETTLING, overwrite.clone()).expect("overwrites");
    let before = engine.counters();
    engine.put_many(COUNTED, overwrite).expect("overwrites");
    let written = engine.counters().since(&before);
    engine.close().expect("a closed node");
    show_parts(&plan, &written);
    let amplification = plan.endurance.write_amplification;
    compare("write amplification", amplification, written.write_amplification(), 0.15);
}

fn show_parts(plan: &Plan, written: &Counters) {
    let part = |bytes: u64| bytes as f64 / written.user_bytes as f64;
    println!(
        "for each byte: moved {:.3}, predicted {:.3}; checkpoints {:.3}, predicted {:.3}; {:.1} records a batch",
        part(written.moved_bytes),
        plan.endurance.write_amplification_cleaner,
        part(written.checkpoint_bytes),
        plan.endurance.write_amplification_checkpoints,
        written.records as f64 / written.batches as f64,
    );
}
