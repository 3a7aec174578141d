//! Compares the server's own writer of listings with s3s: CPU time of the document of one page.
//!
//! `cargo run --release -p ringbolt-benches --bin listing_xml`
//!
//! By s3s means what the server did before: the values that s3s wants, made from the engine's page,
//! its serializer, and the references that XML wants written into the whole document.

use clap::Parser;
use ringbolt_benches::stats::median;
use ringbolt_benches::usage::{own_cpu_us, pin_to_core};
use ringbolt_server::s3::listing_by_s3s::{Kind, Sample};
use std::hint::black_box;

/// This is the server's allocator too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Options {
    /// Core to run on.
    #[arg(long, default_value_t = 1)]
    core: usize,
    /// Turns of each way.
    #[arg(long, default_value_t = 7)]
    turns: usize,
    /// Pages written in one turn.
    #[arg(long, default_value_t = 1000)]
    pages: u32,
    /// Entries of a page.
    #[arg(long, default_value_t = 1000)]
    entries: u32,
}

fn main() -> std::io::Result<()> {
    let options = Options::parse();
    pin_to_core(options.core)?;
    println!("CPU of the document of {} entries, medians of {} turns", options.entries, options.turns);
    println!("{:<14} {:>8} {:>9} {:>9} {:>6}", "listing", "bytes", "by s3s", "own", "ratio");
    let mut sample = Sample::new(options.entries);
    for kind in Kind::ALL {
        let (mut by_s3s, mut own) = (Vec::new(), Vec::new());
        let bytes = sample.write(kind);
        for _ in 0..options.turns {
            by_s3s.push(microseconds(options.pages, || sample.write_by_s3s(kind))?);
            own.push(microseconds(options.pages, || sample.write(kind))?);
        }
        let (by_s3s, own) = (median(&by_s3s), median(&own));
        let name = format!("{kind:?}");
        println!("{name:<14} {bytes:>8} {by_s3s:>6.1} µs {own:>6.1} µs {:>6.3}", own / by_s3s);
    }
    Ok(())
}

/// Returns the CPU time of one page in microseconds.
fn microseconds(pages: u32, mut write: impl FnMut() -> usize) -> std::io::Result<f64> {
    let before = own_cpu_us()?;
    for _ in 0..pages {
        black_box(write());
    }
    Ok((own_cpu_us()? - before) as f64 / f64::from(pages))
}
