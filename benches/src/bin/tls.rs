//! Measures what TLS costs the server: CPU of a GET of 4 KiB and of 1 MiB and of a PUT of 1 MiB on open
//! connections, plain and over TLS.
//!
//! `cargo build --release && cargo run --release -p ringbolt-benches --bin tls`
//!
//! Two servers share one core and take turns; the client is on another. The server's CPU time is that of all its
//! threads as counted by the scheduler. The certificate is one that the server signs itself.

use clap::Parser;
use ringbolt_bench::spec::{Https, ObjectOp};
use ringbolt_benches::http::closed_loop::{ClosedLoop, Plan};
use ringbolt_benches::http::process::{ServeOptions, Server};
use ringbolt_benches::place::{self, Place};
use ringbolt_benches::stats::median;
use ringbolt_benches::usage::{on_core, process_cpu_ns};
use ringbolt_benches::verdict::{Verdicts, at_most, exit_code};
use std::process::ExitCode;
use std::time::Duration;

/// This is the most that a GET of 1 MiB over TLS may cost, as a multiple of its cost without.
const LARGE_RATIO_MAX: f64 = 1.6;
/// This is the most that a GET of 4 KiB on an open connection may cost more, in microseconds.
const SMALL_ADDED_US_MAX: f64 = 3.0;
const MIB: u64 = 1 << 20;

#[derive(Parser, Debug)]
#[command(about = "What TLS costs the server")]
struct Options {
    #[command(flatten)]
    place: Place,
    #[arg(long, default_value_t = 11)]
    repeats: usize,
    /// Measured milliseconds of each turn, after a fifth of that which is not counted.
    #[arg(long, default_value_t = 1500)]
    turn_ms: u64,
    #[arg(long, default_value_t = 16)]
    connections: u32,
    #[arg(long, default_value = "512MiB")]
    memory: String,
}

type AnyError = Box<dyn std::error::Error>;

#[derive(Clone, Copy, Debug)]
struct Scenario {
    name: &'static str,
    op: ObjectOp,
    bytes: u64,
    objects: u64,
}

const SCENARIOS: [Scenario; 3] = [
    Scenario { name: "GET 4 KiB", op: ObjectOp::Get, bytes: 4096, objects: 500 },
    Scenario { name: "GET 1 MiB", op: ObjectOp::Get, bytes: MIB, objects: 64 },
    Scenario { name: "PUT 1 MiB", op: ObjectOp::Put, bytes: MIB, objects: 64 },
];

fn load(
    options: &Options,
    scenario: Scenario,
    server: &Server,
    https: Https,
) -> Result<ClosedLoop, AnyError> {
    let Scenario { name, op, bytes: object_bytes, objects } = scenario;
    ClosedLoop::start(Plan {
        name: name.replace(' ', "-").to_lowercase(),
        host: server.address.to_string(),
        https,
        op,
        objects,
        object_bytes,
        connections: options.connections,
    })
}

/// Returns the server's CPU time of a request, in microseconds.
fn turn(options: &Options, load: &mut ClosedLoop, server: &Server) -> Result<f64, AnyError> {
    load.run_for(Duration::from_millis(options.turn_ms / 5))?;
    let before_ns = process_cpu_ns(server.pid())?;
    let answered = load.run_for(Duration::from_millis(options.turn_ms))?.len();
    let used_ns = process_cpu_ns(server.pid())? - before_ns;
    load.rest()?;
    Ok(used_ns as f64 / 1000.0 / answered as f64)
}

fn start(options: &Options, name: &str, tls: bool) -> Result<Server, AnyError> {
    Ok(place::start(&ServeOptions { memory: options.memory.clone(), tls, ..options.place.fresh(name)? })?)
}

/// Measures one scenario by turns. Returns the medians of the plain server and of the other.
fn measure(
    options: &Options,
    scenario: Scenario,
    plain: &Server,
    tls: &Server,
) -> Result<(f64, f64), AnyError> {
    let mut sides = [
        (load(options, scenario, plain, Https::Off)?, plain, Vec::new()),
        (load(options, scenario, tls, Https::Insecure)?, tls, Vec::new()),
    ];
    for repeat in 1..=options.repeats {
        for (load, server, found) in &mut sides {
            found.push(turn(options, load, server)?);
        }
        let [plain_us, tls_us] = [0, 1].map(|side| sides[side].2[repeat - 1]);
        println!("{repeat:2}: {}  plain {plain_us:8.2} us  TLS {tls_us:8.2} us", scenario.name);
    }
    Ok((median(&sides[0].2), median(&sides[1].2)))
}

fn run(options: &Options) -> Result<bool, AnyError> {
    let (plain, tls) = (start(options, "plain", false)?, start(options, "tls", true)?);
    let mut verdicts = Verdicts::default();
    for scenario in SCENARIOS {
        let measured = on_core(options.place.client_core, || {
            measure(options, scenario, &plain, &tls).map_err(|error| error.to_string())
        })?;
        let (without, with) = measured?;
        println!("medians of {}: plain {without:.2} us, TLS {with:.2} us", options.repeats);
        match scenario.bytes {
            MIB if scenario.op == ObjectOp::Get => {
                let name = "CPU of a 1 MiB GET over TLS, over plain";
                verdicts.judge(name, with / without, "", at_most(LARGE_RATIO_MAX));
            }
            4096 => {
                let name = "CPU that TLS adds to a 4 KiB GET";
                verdicts.judge(name, with - without, "us", at_most(SMALL_ADDED_US_MAX));
            }
            _ => println!("CPU of a 1 MiB PUT over TLS, over plain: {:.3}", with / without),
        }
    }
    plain.stop()?;
    tls.stop()?;
    Ok(verdicts.finish())
}

fn main() -> ExitCode {
    exit_code("tls", run(&Options::parse()))
}
