//! What the index costs: bytes per object at 1,000,000 keys of 40 bytes, and nanoseconds per operation.
//!
//! ```text
//! cargo run --release -p ringbolt-engine --example index_memory [objects]
//! ```
//! "Resident" is what the kernel counts for the process over its state before, so it has the allocator's losses.
//! Each step visits the keys in an order without pattern, so that hardly anything is in a cache by luck.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a measurement for a person, outside the engine"
)]

use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use ringbolt_engine::index::{Found, OrderedIndex, PointTable, Step, keys, leaf};

const VALUE_BYTES: usize = 45;

/// The mixing step of SplitMix64 (Steele, Lea, Flood): stands in for the keyed hash.
fn scrambled(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// 40 bytes, of which the last 32 are without pattern.
fn random_key(number: u64) -> Vec<u8> {
    format!("objects/{:016x}{:016x}", scrambled(number), scrambled(!number)).into_bytes()
}

/// 40 bytes as cameras and logs name things.
fn dated_key(number: u64) -> Vec<u8> {
    format!("photos/2026/{:02}/{:02}/IMG-{:018}", number % 12, number % 28, number).into_bytes()
}

fn value_of(number: u64) -> [u8; VALUE_BYTES] {
    let mut value = [0; VALUE_BYTES];
    for (at, chunk) in value.chunks_mut(8).enumerate() {
        chunk.copy_from_slice(&scrambled(number ^ at as u64).to_le_bytes()[..chunk.len()]);
    }
    value
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

/// Runs `operation` for every number and prints nanoseconds each.
fn timed(what: &str, objects: u64, mut operation: impl FnMut(u64)) {
    let start = Instant::now();
    (0..objects).for_each(&mut operation);
    println!("  {what:<38} {:>8.0} ns", start.elapsed().as_nanos() as f64 / objects as f64);
}

fn per_object(what: &str, bytes: usize, objects: u64) {
    println!("  {what:<38} {:>8.1} bytes", bytes as f64 / objects as f64);
}

fn measure_ordered(name: &str, objects: u64, key_of: fn(u64) -> Vec<u8>) {
    println!("ordered index, {objects} keys: {name}");
    let resident = resident_bytes();
    let mut index = OrderedIndex::new();
    timed("making a composite key (in the rest)", objects, |number| {
        black_box(keys::encode(1, &key_of(number), 1 << 40 | number));
    });
    timed("insert", objects, |number| {
        index.insert(&keys::encode(1, &key_of(number), 1 << 40 | number), &value_of(number));
    });
    per_object("memory_bytes", index.memory_bytes(), objects);
    per_object("resident", resident_bytes().saturating_sub(resident), objects);
    timed("get", objects, |number| {
        let number = scrambled(number) % objects;
        assert!(index.get(&keys::encode(1, &key_of(number), 1 << 40 | number)).is_some());
    });
    timed("replace", objects, |number| {
        let number = scrambled(number) % objects;
        index.insert(&keys::encode(1, &key_of(number), 1 << 40 | number), &value_of(!number));
    });
    let mut bytes = 0;
    let start = Instant::now();
    index.visit(&[], &mut |key, value| {
        bytes += key.len() + value.len();
        Step::Continue
    });
    println!("  {:<38} {:>8.0} ns", "visit", start.elapsed().as_nanos() as f64 / objects as f64);
    black_box(bytes);
    measure_walk(&index, objects);
    timed("remove", objects, |number| {
        assert!(index.remove(&keys::encode(1, &key_of(number), 1 << 40 | number)).is_some());
    });
}

/// A checkpoint's walk and the load from it.
fn measure_walk(index: &OrderedIndex, objects: u64) {
    let start = Instant::now();
    let mut leaves = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    while let Some(encoded) = index.leaf_after(after.as_deref()) {
        after = Some(leaf::last_key(&encoded));
        leaves.push(encoded.into_owned());
    }
    println!("  {:<38} {:>8.0} ns", "checkpoint walk", start.elapsed().as_nanos() as f64 / objects as f64);
    println!("  {:<38} {:>8}", "leaves", leaves.len());
    let start = Instant::now();
    let mut loaded = OrderedIndex::new();
    for encoded in &leaves {
        if let Err(error) = loaded.load_leaf(encoded) {
            panic!("a leaf of the walk does not load: {error}");
        }
    }
    assert_eq!(loaded.len(), index.len());
    println!("  {:<38} {:>8.0} ns", "load", start.elapsed().as_nanos() as f64 / objects as f64);
}

fn measure_points(objects: u64) {
    println!("point table, {objects} entries");
    let resident = resident_bytes();
    let mut table = PointTable::new();
    timed("insert", objects, |number| table.insert(scrambled(number), number));
    per_object("memory_bytes", table.memory_bytes(), objects);
    per_object("resident", resident_bytes().saturating_sub(resident), objects);
    timed("find", objects, |number| {
        let number = scrambled(number) % objects;
        assert_eq!(table.find(scrambled(number)), Found::One(number));
    });
}

/// Each part runs in a process of its own, so that none gets memory that another has freed.
fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let objects = arguments.get(1).and_then(|count| count.parse().ok()).unwrap_or(1_000_000);
    match arguments.get(2).map(String::as_str) {
        Some("points") => measure_points(objects),
        Some("random") => measure_ordered("random", objects, random_key),
        Some(_) => measure_ordered("dated", objects, dated_key),
        None => {
            for part in ["points", "random", "dated"] {
                let done = Command::new(&arguments[0]).args([&objects.to_string(), part]).status();
                assert!(done.is_ok_and(|status| status.success()), "the part {part} failed");
            }
        }
    }
}
