//! This module measures a 4 KiB GET on one core: the bare stack, then unsigned and signed requests
//! to the same server.

use crate::{AnyError, BUCKET, Bench, expect_success, make_bucket, renderer, start};
use bytes::Bytes;
use ringbolt_benches::engine_load::{object_body, object_key};
use ringbolt_benches::http::load::{LoadReport, run_load};
use ringbolt_benches::http::process::Server;
use ringbolt_benches::http::request::{Payload, Renderer, Request};
use ringbolt_benches::stats::median_of;
use ringbolt_benches::verdict::{at_least, at_most};

const OBJECTS: u64 = 2000;
const OBJECT_BYTES: usize = 4 << 10;

pub fn run(bench: &mut Bench) -> Result<(), AnyError> {
    println!("\nGET 4 KiB, {} connections", bench.options.connections);
    let hyper = Server::start_hyper(bench.options.place.core)?;
    // One server reads the drive for each request, and the other has its default read cache.
    let mut without_cache = bench.fresh("s3-get-drive", "2GiB")?;
    without_cache.read_cache = Some("off".into());
    let servers = [start(&without_cache)?, start(&bench.fresh("s3-get", "2GiB")?)?];
    let [drive, server] = &servers;
    let renderer = renderer(server);
    let path = |number| format!("/{BUCKET}/{}", object_key(number));
    let body = |number| object_body(number, OBJECT_BYTES);
    for server in &servers {
        make_bucket(server)?;
        let renderer = Renderer { address: server.address, ..renderer.clone() };
        let put = |number| renderer.put(&path(number), &body(number), Payload::UnsignedWithCrc32c);
        expect_success(server, (0..OBJECTS).map(put).collect())?;
    }
    let bare = Renderer { address: hyper.address, ..renderer.clone() };
    let mut runs = Runs::default();
    for repeat in 1..=bench.options.repeats {
        // Requests are rendered for each turn, because a signature is valid for fifteen minutes.
        let ask = |render: &dyn Fn(&str) -> Bytes| -> Vec<Request> {
            let one =
                |number| Request { bytes: render(&path(number)), expected_body: Some(body(number).into()) };
            (0..OBJECTS).map(one).collect()
        };
        let any = vec![Request { bytes: bare.anonymous_get("/"), expected_body: None }];
        runs.hyper.push(print(repeat, "hyper", run_load(bench.load(&hyper, any))?));
        if !bench.options.signed_only {
            let from_drive = Renderer { address: drive.address, ..renderer.clone() };
            let requests = ask(&|path| from_drive.anonymous_get(path));
            runs.drive.push(print(repeat, "drive", run_load(bench.load(drive, requests))?));
            let requests = ask(&|path| renderer.anonymous_get(path));
            runs.unsigned.push(print(repeat, "unsigned", run_load(bench.load(server, requests))?));
        }
        let requests = ask(&|path| renderer.signed("GET", path));
        runs.signed.push(print(repeat, "signed", run_load(bench.load(server, requests))?));
    }
    runs.judge(bench);
    for server in servers {
        server.stop()?;
    }
    Ok(())
}

/// Holds the turns of each side.
#[derive(Default)]
struct Runs {
    hyper: Vec<LoadReport>,
    /// Holds unsigned requests without the read cache.
    drive: Vec<LoadReport>,
    unsigned: Vec<LoadReport>,
    signed: Vec<LoadReport>,
}

/// Measures the bare stack alone.
pub fn bare(bench: &Bench) -> Result<(), AnyError> {
    let hyper = Server::start_hyper(bench.options.place.core)?;
    let request = Request { bytes: renderer(&hyper).anonymous_get("/"), expected_body: None };
    for repeat in 1..=bench.options.repeats {
        print(repeat, "hyper", run_load(bench.load(&hyper, vec![request.clone()]))?);
    }
    Ok(())
}

impl Runs {
    fn judge(&self, bench: &mut Bench) {
        let rate = |runs: &[LoadReport]| median_of(runs, |run| run.requests_per_s);
        let cpu = |runs: &[LoadReport]| median_of(runs, |run| run.server_cpu_us);
        let named = [
            ("hyper", &self.hyper),
            ("drive", &self.drive),
            ("unsigned", &self.unsigned),
            ("signed", &self.signed),
        ];
        let texts = named.iter().filter(|(_, runs)| !runs.is_empty());
        let texts: Vec<_> =
            texts.map(|(name, runs)| format!("{name} {:.0}/s {:.1} us", rate(runs), cpu(runs))).collect();
        println!("medians: {}", texts.join("; "));
        let ratio = |runs: &[LoadReport]| rate(runs) / rate(&self.hyper);
        if self.unsigned.is_empty() {
            // Signed requests cost more, so reaching the target with them implies reaching it
            // without.
            bench.verdicts.judge(
                "S3 signed GET 4 KiB, rate over bare hyper",
                ratio(&self.signed),
                "x",
                at_least(0.5),
            );
            return;
        }
        let title = "S3 unsigned GET 4 KiB, rate over bare hyper";
        bench.verdicts.judge(title, ratio(&self.unsigned), "x", at_least(0.5));
        let added = cpu(&self.signed) - cpu(&self.unsigned);
        bench.verdicts.judge("SigV4, CPU added to a GET", added, "us", at_most(10.0));
    }
}

fn print(repeat: usize, name: &str, report: LoadReport) -> LoadReport {
    println!(
        "{repeat}: {name:9} {:7.0}/s  server {:6.2} us CPU ({:3.0}% of its core)  \
             client {:5.2} us  p50 {:.0} p99 {:.0} us",
        report.requests_per_s,
        report.server_cpu_us,
        report.server_busy * 100.0,
        report.client_cpu_us,
        report.p50_us,
        report.p99_us
    );
    report
}
