//! These tests run the fuzz targets without a fuzzer: their corpus, and mutations of it that follow
//! from a seed.
//!
//! `fuzz/` has the targets for cargo-fuzz; docs/reliability.md says how to run them. Here each
//! input runs through the same functions as the targets, without any other state, so what fails
//! here fails there.
//!
//! `FUZZ_TIMES=100 FUZZ_SEED=7` runs a hundred times as many mutations, with another seed.

use ringbolt_tests::Dice;
use ringbolt_tests::server::resident_bytes_max;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

const SEED: u64 = 20_130_524;
/// This is far above what any input needs, and far below what an input could take whose lengths are
/// trusted.
const RESIDENT_BYTES_MAX: u64 = 1 << 30;
/// Fields often have these values at their limits.
const EDGES: [u64; 12] = [0, 1, 2, 7, 8, 63, 64, 4095, 4096, u16::MAX as u64, u32::MAX as u64, u64::MAX];

/// Runs the corpus of `target` through `entry`, then `mutations` of it.
fn run(target: &str, mutations: usize, entry: fn(&[u8])) {
    let corpus = corpus_of(target);
    assert!(!corpus.is_empty(), "{target} has no corpus");
    for (name, input) in &corpus {
        check(entry, input, &format!("fuzz/corpus/{target}/{name}"));
    }
    let mut dice = Dice::new(setting("FUZZ_SEED").unwrap_or(SEED));
    let times = setting("FUZZ_TIMES").unwrap_or(1) as usize;
    for number in 0..mutations * times {
        let input = mutated(&corpus, &mut dice);
        check(entry, &input, &format!("mutation {number} of {target}"));
    }
    let resident = resident_bytes_max("self");
    assert!(resident < RESIDENT_BYTES_MAX, "{target} took {resident} bytes");
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

fn check(entry: fn(&[u8]), input: &[u8], name: &str) {
    if catch_unwind(AssertUnwindSafe(|| entry(input))).is_err() {
        let hex: String = input.iter().take(2048).map(|byte| format!("{byte:02x}")).collect();
        panic!("{name} panics; its {} bytes begin with\n{hex}", input.len());
    }
}

/// Returns the corpus, ordered by name.
fn corpus_of(target: &str) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let entries = fs::read_dir(&directory).expect("read the corpus");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry of the corpus").path()).collect();
    paths.sort();
    let named = |path: &std::path::PathBuf| {
        let name = path.file_name().expect("a file's name").to_string_lossy().into_owned();
        (name, fs::read(path).expect("read an input"))
    };
    paths.iter().map(named).collect()
}

fn mutated(corpus: &[(String, Vec<u8>)], dice: &mut Dice) -> Vec<u8> {
    let mut input = corpus[dice.below(corpus.len())].1.clone();
    for _ in 0..=dice.below(6) {
        let other = &corpus[dice.below(corpus.len())].1;
        mutate(&mut input, other, dice);
    }
    input
}

fn mutate(input: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    if input.is_empty() {
        input.extend_from_slice(other);
        return;
    }
    let at = dice.below(input.len());
    let length = 1 + dice.below((input.len() - at).min(64));
    match dice.below(7) {
        0 => input[at] ^= 1 << dice.below(8),
        1 => input[at] = dice.below(256) as u8,
        2 => {
            let (edge, width) = (EDGES[dice.below(EDGES.len())].to_le_bytes(), length.min(8));
            input[at..at + width].copy_from_slice(&edge[..width]);
        }
        3 => drop(input.drain(at..at + length)),
        4 => {
            let piece = input[at..at + length].to_vec();
            input.splice(at..at, piece);
        }
        5 => input.truncate(at + 1),
        _ => {
            let from = dice.below(other.len());
            let piece = other[from..from + (other.len() - from).min(64)].to_vec();
            input.splice(at..at + length, piece);
        }
    }
}

#[test]
fn superblocks() {
    run("superblock", 3000, ringbolt_engine::fuzz::superblock);
}

#[test]
fn records() {
    run("record", 20_000, ringbolt_engine::fuzz::record);
}

#[test]
fn logs() {
    run("log", 1500, ringbolt_engine::fuzz::log);
}

#[test]
fn checkpoints() {
    run("checkpoint", 1500, ringbolt_engine::fuzz::checkpoint);
}

#[test]
fn connections() {
    run("http", 2000, ringbolt_server::fuzz::http);
}

#[test]
fn chunks() {
    run("chunked", 20_000, ringbolt_server::fuzz::chunked);
}

#[test]
fn forms() {
    run("form", 10_000, ringbolt_server::fuzz::form);
}

#[test]
fn documents() {
    run("document", 20_000, ringbolt_server::fuzz::document);
}

#[test]
fn policies() {
    run("policy", 20_000, ringbolt_server::fuzz::policy);
}

#[test]
fn proxy_headers() {
    run("proxy_header", 200_000, ringbolt_server::fuzz::proxy_header);
}

#[test]
fn tls() {
    run("tls", 2000, ringbolt_server::fuzz::tls);
}

#[test]
fn lists_of_access() {
    run("acl", 20_000, ringbolt_server::fuzz::acl);
}
