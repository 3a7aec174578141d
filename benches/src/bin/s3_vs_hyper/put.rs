//! This module measures the server's CPU time of a 1 MiB PUT: unsigned payload with MD5 ETag and
//! CRC32C, and signed payload.

use crate::{AnyError, BUCKET, Bench, make_bucket, renderer, start};
use ringbolt_benches::engine_load::{object_body, object_key};
use ringbolt_benches::http::load::{Load, LoadReport, run_load};
use ringbolt_benches::http::request::{Payload, Request};
use ringbolt_benches::stats::median_of;
use ringbolt_benches::verdict::at_most;
use std::time::Duration;

const OBJECTS: u64 = 64;
const OBJECT_BYTES: usize = 1 << 20;

/// This is short relative to a request, which takes milliseconds.
const REST: Duration = Duration::from_micros(100);

pub fn run(bench: &mut Bench) -> Result<(), AnyError> {
    println!("\nPUT 1 MiB, {} connections", bench.options.connections);
    let server = start(&bench.fresh("s3-put", "4GiB")?)?;
    make_bucket(&server)?;
    let renderer = renderer(&server);
    let bodies: Vec<Vec<u8>> = (0..OBJECTS).map(|number| object_body(number, OBJECT_BYTES)).collect();
    let (mut unsigned, mut signed) = (Vec::new(), Vec::new());
    for repeat in 1..=bench.options.repeats {
        for (payload, runs) in [(Payload::UnsignedWithCrc32c, &mut unsigned), (Payload::Signed, &mut signed)]
        {
            let render = |(number, body): (usize, &Vec<u8>)| {
                let path = format!("/{BUCKET}/{}", object_key(number as u64));
                Request { bytes: renderer.put(&path, body, payload), expected_body: None }
            };
            let requests = bodies.iter().enumerate().map(render).collect();
            let load = Load { rest: Some(REST), ..bench.load(&server, requests) };
            let report = run_load(load)?;
            print(repeat, payload, &report);
            runs.push(report);
        }
    }
    let cpu_ms = |runs: &[LoadReport]| median_of(runs, |run| run.server_cpu_us) / 1000.0;
    bench.verdicts.judge(
        "PUT 1 MiB, unsigned payload, MD5 and crc32c, CPU",
        cpu_ms(&unsigned),
        "ms",
        at_most(2.4),
    );
    bench.verdicts.judge("PUT 1 MiB, signed payload, CPU", cpu_ms(&signed), "ms", at_most(5.2));
    server.stop()?;
    Ok(())
}

fn print(repeat: usize, payload: Payload, report: &LoadReport) {
    println!(
        "{repeat}: {payload:?}: {:.0}/s, {:.2} ms server CPU ({:.0}% of its core), p50 {:.1} p99 {:.1} ms",
        report.requests_per_s,
        report.server_cpu_us / 1000.0,
        report.server_busy * 100.0,
        report.p50_us / 1000.0,
        report.p99_us / 1000.0
    );
}
