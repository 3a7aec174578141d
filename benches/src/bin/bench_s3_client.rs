//! Runs one core of `ringbolt bench`'s S3 client against one core of the server: which of the two
//! is the bottleneck?
//!
//! `cargo build --release && cargo run --release -p ringbolt-benches --bin bench_s3_client`
//!
//! The server runs on one core, the client on another; the load is 4 KiB GETs, signed, in a closed
//! loop. The client is fast enough if the server's core is busy all the time and the client's own
//! work needs less than its core.

use clap::Parser;
use ringbolt_bench::spec::{Https, ObjectOp};
use ringbolt_benches::http::closed_loop::{ClosedLoop, Plan};
use ringbolt_benches::http::process::{ACCESS_KEY, SECRET_KEY, ServeOptions, Server};
use ringbolt_benches::http::request::Renderer;
use ringbolt_benches::http::sign::Credentials;
use ringbolt_benches::place::Place;
use ringbolt_benches::stats::{median_of, percentile};
use ringbolt_benches::usage::{on_core, process_cpu_ns};
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[derive(Parser, Debug)]
#[command(about = "One core of the S3 client against one core of the server")]
struct Options {
    #[command(flatten)]
    place: Place,
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Measured seconds of each turn, after one second of ramp.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    #[arg(long, default_value_t = 32)]
    connections: u32,
    #[arg(long, default_value_t = 2000)]
    objects: u64,
    #[arg(long, default_value_t = 4096)]
    object_bytes: u64,
    #[arg(long, default_value = "512MiB")]
    memory: String,
}

type AnyError = Box<dyn std::error::Error>;

#[derive(Clone, Copy, Debug)]
struct Turn {
    requests_per_s: f64,
    server_busy: f64,
    server_us: f64,
    /// This is the share of the client's core that was not idle polling.
    client_busy: f64,
    client_us: f64,
    p50_us: f64,
    p99_us: f64,
}

fn turn(load: &mut ClosedLoop, seconds: u64, server_pid: u32) -> Result<Turn, AnyError> {
    load.run_for(Duration::from_secs(1))?;
    let own = std::process::id();
    let (server_ns, polling_ns, at) = (process_cpu_ns(server_pid)?, load.polling_ns(), Instant::now());
    let own_ns = process_cpu_ns(own)?;
    let mut latencies = load.run_for(Duration::from_secs(seconds))?;
    let wall_us = at.elapsed().as_secs_f64() * 1e6;
    let server_us = (process_cpu_ns(server_pid)? - server_ns) as f64 / 1000.0;
    // The thread polls all the time: its work is its CPU time without the share of idle turns.
    let idle_share = (load.polling_ns() - polling_ns) as f64 / 1000.0 / wall_us;
    let client_us = (process_cpu_ns(own)? - own_ns) as f64 / 1000.0 * (1.0 - idle_share);
    let requests = latencies.len() as f64;
    Ok(Turn {
        requests_per_s: requests / wall_us * 1e6,
        server_busy: server_us / wall_us,
        server_us: server_us / requests,
        client_busy: client_us / wall_us,
        client_us: client_us / requests,
        p50_us: f64::from(percentile(&mut latencies, 0.50)) / 1000.0,
        p99_us: f64::from(percentile(&mut latencies, 0.99)) / 1000.0,
    })
}

fn start(options: &Options) -> Result<Server, AnyError> {
    let mut server = Server::start_ringbolt(&ServeOptions {
        memory: options.memory.clone(),
        ..options.place.fresh("s3-client")?
    })?;
    let credentials = Credentials {
        access_key: ACCESS_KEY.into(),
        secret_key: SECRET_KEY.into(),
        region: "us-east-1".into(),
    };
    let request = Renderer { address: server.address, credentials }.signed("GET", "/");
    server.first_answer(&request, Instant::now(), Duration::from_secs(180))?;
    Ok(server)
}

fn measure(options: &Options, host: String, server_pid: u32) -> Result<Vec<Turn>, String> {
    let text = |error: AnyError| error.to_string();
    let plan = Plan {
        name: "get".to_owned(),
        host,
        https: Https::Off,
        op: ObjectOp::Get,
        objects: options.objects,
        object_bytes: options.object_bytes,
        connections: options.connections,
    };
    let mut load = ClosedLoop::start(plan).map_err(text)?;
    let mut turns = Vec::new();
    for repeat in 1..=options.repeats {
        let turn = turn(&mut load, options.seconds, server_pid).map_err(text)?;
        println!(
            "{repeat}: {:7.0}/s  server {:5.2} us, {:3.0}% of its core  client {:5.2} us, {:3.0}% of its core  \
             p50 {:.0} p99 {:.0} us",
            turn.requests_per_s,
            turn.server_us,
            turn.server_busy * 100.0,
            turn.client_us,
            turn.client_busy * 100.0,
            turn.p50_us,
            turn.p99_us
        );
        turns.push(turn);
    }
    Ok(turns)
}

fn run(options: &Options) -> Result<bool, AnyError> {
    let server = start(options)?;
    let (host, pid) = (server.address.to_string(), server.pid());
    let turns = on_core(options.place.client_core, || measure(options, host, pid))??;
    server.stop()?;
    let (server_us, client_us) =
        (median_of(&turns, |turn| turn.server_us), median_of(&turns, |turn| turn.client_us));
    let busy = median_of(&turns, |turn| turn.server_busy);
    println!(
        "medians: {:.0}/s, server {server_us:.2} us a request and {:.0}% of its core, client {client_us:.2} us",
        median_of(&turns, |turn| turn.requests_per_s),
        busy * 100.0
    );
    println!("one client core could drive {:.1} server cores", server_us / client_us);
    Ok(busy > 0.97 && client_us < server_us)
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            println!("the client was not faster than the server");
            ExitCode::from(1)
        }
        Err(error) => {
            eprintln!("bench_s3_client: {error}");
            ExitCode::from(2)
        }
    }
}
