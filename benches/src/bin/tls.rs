//! Measures what TLS costs the server: CPU of a GET of 4 KiB and of 1 MiB and of a PUT of 1 MiB on open
//! connections, plain and over TLS.
//!
//! `cargo build --release && cargo run --release -p ringbolt-benches --bin tls`
//!
//! Two servers share one core and take turns; the client is on another. The server's CPU time is that of all its
//! threads as counted by the scheduler. The certificate is one that the server signs itself.

use clap::Parser;
use ringbolt_bench::spec::{Https, ObjectOp};
use ringbolt_benches::http::process::{ServeOptions, Server};
use ringbolt_benches::http::sides::{Scenario, Side, Turns};
use ringbolt_benches::place::{self, Place};
use ringbolt_benches::usage::on_core;
use ringbolt_benches::verdict::{Verdicts, at_most, exit_code};
use std::process::ExitCode;

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
    #[command(flatten)]
    turns: Turns,
    #[arg(long, default_value = "512MiB")]
    memory: String,
}

type AnyError = Box<dyn std::error::Error>;

const SCENARIOS: [Scenario; 3] = [
    Scenario { name: "GET 4 KiB", op: ObjectOp::Get, bytes: 4096, objects: 500 },
    Scenario { name: "GET 1 MiB", op: ObjectOp::Get, bytes: MIB, objects: 64 },
    Scenario { name: "PUT 1 MiB", op: ObjectOp::Put, bytes: MIB, objects: 64 },
];

fn start(options: &Options, name: &str, tls: bool) -> Result<Server, AnyError> {
    Ok(place::start(&ServeOptions { memory: options.memory.clone(), tls, ..options.place.fresh(name)? })?)
}

fn run(options: &Options) -> Result<bool, AnyError> {
    let (plain, tls) = (start(options, "plain", false)?, start(options, "tls", true)?);
    let sides = [
        Side { name: "plain", server: &plain, https: Https::Off },
        Side { name: "TLS", server: &tls, https: Https::Insecure },
    ];
    let mut verdicts = Verdicts::default();
    for scenario in SCENARIOS {
        let measured = on_core(options.place.client_core, || {
            options.turns.measure(scenario, &sides).map_err(|error| error.to_string())
        })?;
        let [without, with] = measured?[..] else { return Err("two sides have two medians".into()) };
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
