//! Measures how fast parity is made, and what is lost made anew, against ISA-L on the same bytes.
//!
//! `apt install libisal-dev && cargo run --release -p ringbolt-benches --features isal --bin stripes`
//!
//! Every turn each side goes through the same rows of pieces of 64 KiB, on one core. The bytes are compared.

use clap::Parser;
use ringbolt_benches::isal::Isal;
use ringbolt_benches::stats::median;
use ringbolt_benches::usage::pin_to_core;
use ringbolt_benches::verdict::{Verdicts, at_least, exit_code};
use ringbolt_engine::stripe::{Codec, Combination, Kernel, ReedSolomon};
use std::process::ExitCode;
use std::time::Instant;

/// The least rate at which parity of 4+2 is made, as a share of ISA-L's.
const SHARE_MIN: f64 = 0.8;

#[derive(Parser, Debug)]
#[command(about = "Parity against ISA-L")]
struct Options {
    /// Core to run on.
    #[arg(long, default_value_t = 1)]
    core: usize,
    /// Turns of each side.
    #[arg(long, default_value_t = 11)]
    repeats: usize,
    /// Bytes of a piece.
    #[arg(long, default_value_t = 64 << 10)]
    piece_bytes: usize,
    /// Rows of pieces in each turn.
    #[arg(long, default_value_t = 64)]
    rows: usize,
}

type AnyError = Box<dyn std::error::Error>;

const SHAPES: [(usize, usize); 8] = [(2, 1), (2, 2), (3, 2), (4, 2), (6, 3), (8, 3), (10, 4), (14, 4)];

/// Pieces of some rows.
struct Pieces {
    bytes: Vec<Vec<u8>>,
    of_row: usize,
}

impl Pieces {
    fn new(rows: usize, of_row: usize, length: usize) -> Self {
        let bytes = (0..rows * of_row)
            .map(|piece| (0..length).map(|at| ((at * 31 + piece * 97) ^ (at >> 5)) as u8).collect());
        Self { bytes: bytes.collect(), of_row }
    }
}

/// Returns the rate in GB of data a second.
fn rate(from: &Pieces, to: &mut Pieces, make: impl Fn(&[&[u8]], &mut [&mut [u8]])) -> f64 {
    let at = Instant::now();
    for (inputs, outputs) in from.bytes.chunks(from.of_row).zip(to.bytes.chunks_mut(to.of_row)) {
        let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
        let mut outputs: Vec<&mut [u8]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        make(&inputs, &mut outputs);
    }
    let bytes: usize = from.bytes.iter().map(Vec::len).sum();
    bytes as f64 / at.elapsed().as_secs_f64() / 1e9
}

/// Compares one combination by turns. Returns the medians of ISA-L and of each way that the machine has.
fn compare(
    options: &Options,
    data: usize,
    combination: &Combination,
) -> Result<(f64, Vec<(Kernel, f64)>), AnyError> {
    let outputs = combination.outputs();
    let rows: Vec<u8> = (0..outputs).flat_map(|output| combination.coefficients(output).to_vec()).collect();
    let isal = Isal::new(data, &rows);
    let from = Pieces::new(options.rows, data, options.piece_bytes);
    let [mut theirs, mut ours] = [(); 2].map(|()| Pieces::new(options.rows, outputs, options.piece_bytes));
    let mut isal_rates = Vec::new();
    let ways = Kernel::ALL.into_iter().filter(|way| way.is_there());
    let mut rates: Vec<(Kernel, Vec<f64>)> = ways.map(|way| (way, Vec::new())).collect();
    for _ in 0..options.repeats {
        isal_rates.push(rate(&from, &mut theirs, |inputs, outputs| isal.encode(inputs, outputs)));
        for (way, rates) in &mut rates {
            ours.bytes.iter_mut().for_each(|piece| piece.fill(0));
            rates.push(rate(&from, &mut ours, |inputs, outputs| combination.apply_by(*way, inputs, outputs)));
            if ours.bytes != theirs.bytes {
                return Err(format!("{way:?} makes other bytes than ISA-L").into());
            }
        }
    }
    Ok((median(&isal_rates), rates.into_iter().map(|(way, rates)| (way, median(&rates))).collect()))
}

fn run(options: &Options) -> Result<bool, AnyError> {
    pin_to_core(options.core)?;
    let mut verdicts = Verdicts::default();
    println!("GB of data a second, medians of {} turns", options.repeats);
    for (data, parity) in SHAPES {
        let code = ReedSolomon::new(data, parity).ok_or("no such code")?;
        let left: Vec<usize> = (1..=data).collect();
        let lost = code.recovery(&left, &[0]).map_err(|why| format!("{why:?}"))?;
        for (what, combination) in [("parity", code.parity()), ("a lost piece", &lost)] {
            let (isal, own) = compare(options, data, combination)?;
            let ways: Vec<String> = own.iter().map(|(way, rate)| format!("{way:?} {rate:.2}")).collect();
            println!("{data}+{parity} {what}: ISA-L {isal:.2}  {}", ways.join("  "));
            if (data, parity, what) == (4, 2, "parity") {
                let best = own.last().map_or(f64::NAN, |(_, rate)| *rate);
                verdicts.judge("rate of parity at 4+2, over ISA-L's", best / isal, "", at_least(SHARE_MIN));
            }
        }
    }
    Ok(verdicts.finish())
}

fn main() -> ExitCode {
    exit_code("stripes", run(&Options::parse()))
}
