//! This module measures the server's CPU time of a page of 1,000 of ListObjectsV2, signed, over
//! HTTP; on request beside a server that was built before, by turns.

use crate::{AnyError, BUCKET, Bench, expect_success, make_bucket, renderer, start};
use ringbolt_benches::engine_load::{object_body, object_key};
use ringbolt_benches::http::load::{Load, LoadReport, run_load};
use ringbolt_benches::http::process::Server;
use ringbolt_benches::http::request::{Payload, Request};
use ringbolt_benches::stats::median_of;
use ringbolt_benches::verdict::at_most;
use std::time::Duration;

const OBJECTS: u64 = 10_000;
const OBJECT_BYTES: usize = 128;
/// A page begins behind each of this many keys, and is full.
const PLACES: u64 = 9_000;
const PAGE: usize = 1_000;
/// This is short relative to a request.
const REST: Duration = Duration::from_micros(50);

pub fn run(bench: &mut Bench) -> Result<(), AnyError> {
    println!("\nLIST of {PAGE}, {} connections", bench.options.connections);
    let mut sides = vec![("now", start_filled(bench, "s3-list")?, Vec::new())];
    if let Some(program) = bench.options.before.clone() {
        let now = bench.options.place.ringbolt.replace(program);
        sides.push(("before", start_filled(bench, "s3-list-before")?, Vec::new()));
        bench.options.place.ringbolt = now;
    }
    for repeat in 1..=bench.options.repeats {
        for (name, server, runs) in &mut sides {
            let load = Load { rest: Some(REST), ..bench.load(server, pages(server)) };
            let report = run_load(load)?;
            println!(
                "{repeat}: {name:6} {:.0}/s, {:.1} us server CPU ({:.0}% of its core), p50 {:.0} p99 {:.0} us",
                report.requests_per_s,
                report.server_cpu_us,
                report.server_busy * 100.0,
                report.p50_us,
                report.p99_us
            );
            runs.push(report);
        }
    }
    for (name, server, runs) in sides {
        let cpu_ms = median_of(&runs, |run: &LoadReport| run.server_cpu_us) / 1000.0;
        match name {
            "now" => bench.verdicts.judge("LIST of 1,000, CPU", cpu_ms, "ms", at_most(0.5)),
            _ => println!("LIST of 1,000 as it was before, CPU: {cpu_ms:.3} ms"),
        }
        server.stop()?;
    }
    Ok(())
}

/// Starts a server and stores the objects that are listed.
fn start_filled(bench: &Bench, name: &str) -> Result<Server, AnyError> {
    let server = start(&bench.fresh(name, "2GiB")?)?;
    make_bucket(&server)?;
    let renderer = renderer(&server);
    let put = |number| {
        let path = format!("/{BUCKET}/{}", object_key(number));
        renderer.put(&path, &object_body(number, OBJECT_BYTES), Payload::UnsignedWithCrc32c)
    };
    expect_success(&server, (0..OBJECTS).map(put).collect())?;
    Ok(server)
}

/// Requests are rendered for each turn, because a signature is valid for fifteen minutes.
fn pages(server: &Server) -> Vec<Request> {
    let renderer = renderer(server);
    let page = |number| {
        let after = object_key(number).replace('/', "%2F");
        let path = format!("/{BUCKET}?list-type=2&start-after={after}");
        Request { bytes: renderer.signed("GET", &path), expected_body: None }
    };
    (0..PLACES).step_by(37).map(page).collect()
}
