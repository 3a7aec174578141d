//! Compares hash libraries that safe Rust can use: MB/s on one core at 4 KiB, 64 KiB and 1 MiB.
//!
//! `cargo run --release -p ringbolt-benches --features openssl --bin hash`
//!
//! To run without SHA instructions, where a library has a switch for it, put
//! `OPENSSL_ia32cap=:~0x20000000` before the command.

use clap::Parser;
use ringbolt_benches::stats::median;
use ringbolt_benches::usage::pin_to_core;
use ringbolt_engine::format::mark::{Structure, mark};
use std::hint::black_box;
use std::time::{Duration, Instant};

const SIZES: [usize; 3] = [4 << 10, 64 << 10, 1 << 20];

#[derive(Parser)]
struct Options {
    /// Core to run on.
    #[arg(long, default_value_t = 1)]
    core: usize,
    /// Rounds; the libraries take turns in each.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Time for each library, size and round.
    #[arg(long, default_value_t = 40)]
    slice_ms: u64,
}

struct Candidate {
    algorithm: &'static str,
    library: &'static str,
    digest: fn(&[u8]) -> Vec<u8>,
}

const fn candidate(
    algorithm: &'static str,
    library: &'static str,
    digest: fn(&[u8]) -> Vec<u8>,
) -> Candidate {
    Candidate { algorithm, library, digest }
}

fn crc(algorithm: crc_fast::CrcAlgorithm, bytes: &[u8]) -> Vec<u8> {
    crc_fast::checksum(algorithm, bytes).to_be_bytes().to_vec()
}

fn candidates() -> Vec<Candidate> {
    use aws_lc_rs::digest as aws;
    use crc_fast::CrcAlgorithm::{Crc32Iscsi, Crc64Nvme};
    let mut list = vec![
        candidate("sha256", "aws-lc-rs", |bytes| aws::digest(&aws::SHA256, bytes).as_ref().to_vec()),
        candidate("sha256", "ring", |bytes| {
            ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().to_vec()
        }),
        candidate("sha256", "sha2", |bytes| <sha2::Sha256 as sha2::Digest>::digest(bytes).to_vec()),
        candidate("md5", "aws-lc-sys", |bytes| ringbolt_server::auth::hash::Md5::digest(bytes).to_vec()),
        candidate("md5", "md-5", |bytes| <md_5::Md5 as md_5::Digest>::digest(bytes).to_vec()),
        candidate("md5", "md5", |bytes| md5::compute(bytes).0.to_vec()),
        candidate("sha1", "aws-lc-rs", |bytes| {
            aws::digest(&aws::SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec()
        }),
        candidate("crc32c", "crc32c", |bytes| u64::from(crc32c::crc32c(bytes)).to_be_bytes().to_vec()),
        candidate("crc32c", "crc-fast", |bytes| crc(Crc32Iscsi, bytes)),
        candidate("crc64nvme", "crc-fast", |bytes| crc(Crc64Nvme, bytes)),
    ];
    list.extend(openssl_candidates());
    list
}

#[cfg(feature = "openssl")]
fn openssl_candidates() -> Vec<Candidate> {
    use openssl::hash::{MessageDigest, hash};
    // An empty result stands for a refusal; the agreement check reports it.
    vec![
        candidate("sha256", "openssl", |bytes| openssl::sha::sha256(bytes).to_vec()),
        candidate("md5", "openssl", |bytes| {
            hash(MessageDigest::md5(), bytes).map(|digest| digest.to_vec()).unwrap_or_default()
        }),
    ]
}

#[cfg(not(feature = "openssl"))]
fn openssl_candidates() -> Vec<Candidate> {
    Vec::new()
}

/// Checks that libraries agree on the results; otherwise their speeds mean nothing.
fn check_agreement(list: &[Candidate], bytes: &[u8]) -> Result<(), String> {
    for one in list {
        for other in list.iter().filter(|other| other.algorithm == one.algorithm) {
            if (one.digest)(bytes) != (other.digest)(bytes) {
                return Err(format!("{} of {} and {} differ", one.algorithm, one.library, other.library));
            }
        }
    }
    Ok(())
}

fn megabytes_per_s(candidate: &Candidate, bytes: &[u8], slice: Duration) -> f64 {
    let calls_between_looks = ((1 << 20) / bytes.len()).clamp(1, 16);
    let started = Instant::now();
    let mut done = 0usize;
    while started.elapsed() < slice {
        for _ in 0..calls_between_looks {
            black_box((candidate.digest)(black_box(bytes)));
            done += bytes.len();
        }
    }
    done as f64 / started.elapsed().as_secs_f64() / 1e6
}

/// Returns the time in ns to compute what binds the checksum of a record to its place.
fn nanoseconds_of_a_mark() -> f64 {
    const MARKS: u64 = 10_000_000;
    let started = Instant::now();
    for offset in 0..MARKS {
        let owner = (black_box(9), black_box(3));
        black_box(mark(Structure::Record, owner, black_box(1), black_box(1 << 32), black_box(offset as u32)));
    }
    started.elapsed().as_secs_f64() * 1e9 / MARKS as f64
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    pin_to_core(options.core)?;
    let bytes: Vec<u8> = (0..SIZES[2]).map(|index| (index * 31 % 251) as u8).collect();
    let list = candidates();
    check_agreement(&list, &bytes[..12_345])?;
    let slice = Duration::from_millis(options.slice_ms);
    let mut rates = vec![[(); SIZES.len()].map(|()| Vec::new()); list.len()];
    for _ in 0..options.rounds {
        for (candidate, rates) in list.iter().zip(&mut rates) {
            for (size, rates) in SIZES.iter().zip(rates.iter_mut()) {
                rates.push(megabytes_per_s(candidate, &bytes[..*size], slice));
            }
        }
    }
    println!(
        "{:10} {:10} {:>9} {:>9} {:>9}   MB/s, medians of {}",
        "", "", "4 KiB", "64 KiB", "1 MiB", options.rounds
    );
    for (candidate, rates) in list.iter().zip(&rates) {
        let [small, middle, large] = rates.each_ref().map(|rates| median(rates));
        println!("{:10} {:10} {small:9.0} {middle:9.0} {large:9.0}", candidate.algorithm, candidate.library);
    }
    let marks: Vec<f64> = (0..options.rounds).map(|_| nanoseconds_of_a_mark()).collect();
    println!("the mark of a record (docs/on-disk-format.md#identity): {:.2} ns", median(&marks));
    Ok(())
}
