//! Measures the whole server on one core from the outside: S3 GET against bare hyper, CPU of PUT
//! and LIST, idle, memory, restart.
//!
//! `cargo build --release && cargo run --release -p ringbolt-benches --bin s3_vs_hyper -- all`
//!
//! The server runs on one core, the load generator on another. Each scenario starts the real
//! `ringbolt serve` on fresh data. The server's CPU time is that of all its threads as counted by
//! the scheduler.

mod get;
mod idle;
mod list;
mod million;
mod put;

use bytes::Bytes;
use clap::{Parser, ValueEnum};
use ringbolt_benches::http::client::{Connection, block_on};
use ringbolt_benches::http::hyper_server;
use ringbolt_benches::http::load::Load;
use ringbolt_benches::http::process::{ACCESS_KEY, SECRET_KEY, ServeOptions, Server};
use ringbolt_benches::http::request::{Renderer, Request};
use ringbolt_benches::http::sign::Credentials;
use ringbolt_benches::place::Place;
use ringbolt_benches::usage::pin_to_core;
use ringbolt_benches::verdict::{Verdicts, exit_code};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// This is the server's allocator too, because the bare hyper server is this program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub const BUCKET: &str = "bench";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// 4 KiB GET: bare hyper, unsigned and signed.
    Get,
    /// CPU of a 1 MiB PUT, payload unsigned and signed.
    Put,
    /// CPU of a page of a listing.
    List,
    /// CPU of a server with nothing to do.
    Idle,
    /// Resident memory of many objects.
    Memory,
    /// Time from start to the first answer with many objects, after a stop and after a kill.
    Restart,
    All,
    /// Bare hyper alone: what this machine and the load generator can do.
    Bare,
    /// The bare hyper server itself (started by `get`).
    Hyper,
}

#[derive(Parser, Debug)]
#[command(about = "The server on one core, measured from outside")]
pub struct Options {
    scenario: Scenario,
    #[command(flatten)]
    place: Place,
    /// A server that was built before, which `list` measures by turns with this one.
    #[arg(long)]
    before: Option<PathBuf>,
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Measured seconds of each turn, after one second of ramp.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Objects of `memory` and `restart`.
    #[arg(long, default_value_t = 1_000_000)]
    objects: u64,
    /// Size of each of them.
    #[arg(long, default_value_t = 128)]
    object_bytes: usize,
    /// Leave the anonymous requests out (a server without RINGBOLT_BENCH_ANONYMOUS).
    #[arg(long)]
    signed_only: bool,
    #[arg(long, default_value = "1GiB")]
    memory: String,
}

pub type AnyError = Box<dyn std::error::Error>;

pub struct Bench {
    pub options: Options,
    pub verdicts: Verdicts,
}

impl Bench {
    /// Returns options of a server on fresh data in `name` under the directory of this run.
    pub fn fresh(&self, name: &str, size: &str) -> Result<ServeOptions, AnyError> {
        let options = &self.options;
        Ok(ServeOptions {
            size: size.into(),
            memory: options.memory.clone(),
            anonymous: !options.signed_only,
            ..options.place.fresh(name)?
        })
    }

    pub fn load(&self, server: &Server, requests: Vec<Request>) -> Load {
        Load {
            address: server.address,
            server_pid: server.pid(),
            connections: self.options.connections,
            core: self.options.place.client_core,
            ramp: Duration::from_secs(1),
            runtime: Duration::from_secs(self.options.seconds),
            rest: None,
            requests: Arc::new(requests),
        }
    }
}

pub fn renderer(server: &Server) -> Renderer {
    let credentials = Credentials {
        access_key: ACCESS_KEY.into(),
        secret_key: SECRET_KEY.into(),
        region: "us-east-1".into(),
    };
    Renderer { address: server.address, credentials }
}

/// Starts a server, waits for it and creates the bucket.
pub fn start(options: &ServeOptions) -> Result<Server, AnyError> {
    let started = Instant::now();
    let mut server = Server::start_ringbolt(options)?;
    let request = renderer(&server).signed("GET", "/");
    let (status, time) = server.first_answer(&request, started, Duration::from_secs(180))?;
    if status != 200 {
        return Err(format!("ListBuckets answered {status}, not 200").into());
    }
    println!("server answers after {:.2} s", time.as_secs_f64());
    Ok(server)
}

pub fn make_bucket(server: &Server) -> Result<(), AnyError> {
    expect_success(server, vec![renderer(server).signed_empty_put(&format!("/{BUCKET}"))])
}

/// Sends requests one after the other; any response except 2xx is an error.
pub fn expect_success(server: &Server, requests: Vec<Bytes>) -> Result<(), AnyError> {
    let address = server.address;
    block_on(async move {
        let mut connection = Connection::open(address).await?;
        for bytes in requests {
            connection.ask_checked(&Request { bytes, expected_body: None }).await?;
        }
        Ok(())
    })?
}

fn run(options: Options) -> Result<bool, AnyError> {
    if options.scenario == Scenario::Hyper {
        pin_to_core(options.place.core)?;
        hyper_server::serve(4 << 10, |address| println!("{address}"))?;
        return Ok(true);
    }
    std::fs::create_dir_all(&options.place.dir)?;
    let scenario = options.scenario;
    let mut bench = Bench { options, verdicts: Verdicts::default() };
    match scenario {
        Scenario::Get => get::run(&mut bench)?,
        Scenario::Bare => get::bare(&bench)?,
        Scenario::Put => put::run(&mut bench)?,
        Scenario::List => list::run(&mut bench)?,
        Scenario::Idle => idle::run(&mut bench)?,
        Scenario::Memory => million::memory(&mut bench)?,
        Scenario::Restart => million::restart(&mut bench)?,
        Scenario::All | Scenario::Hyper => {
            get::run(&mut bench)?;
            put::run(&mut bench)?;
            list::run(&mut bench)?;
            idle::run(&mut bench)?;
            million::memory(&mut bench)?;
            million::restart(&mut bench)?;
        }
    }
    Ok(bench.verdicts.finish())
}

fn main() -> ExitCode {
    exit_code("s3_vs_hyper", run(Options::parse()))
}
