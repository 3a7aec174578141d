//! Measures what TLS costs the server: CPU of a GET of 4 KiB and of 1 MiB and of a PUT of 1 MiB on open
//! connections, plain and over TLS.
//!
//! `cargo build --release && cargo run --release -p ringbolt-benches --bin tls`
//!
//! Two servers share one core and take turns; the client is on another. The server's CPU time is that of all its
//! threads as counted by the scheduler. The certificate is one that the server signs itself.

use clap::Parser;
use ringbolt_bench::engine::s3::S3Engine;
use ringbolt_bench::engine::{Clock, IoEngine, Operation, Verb};
use ringbolt_bench::spec::{BlockSize, ByDirection, ClientWait, Engine, Https, Job, ObjectOp, Objects};
use ringbolt_benches::http::process::{ACCESS_KEY, SECRET_KEY, ServeOptions, Server, default_program};
use ringbolt_benches::stats::median;
use ringbolt_benches::usage::{on_core, process_cpu_ns};
use ringbolt_benches::verdict::{Verdicts, at_most};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// This is the most that a GET of 1 MiB over TLS may cost, as a multiple of its cost without.
const LARGE_RATIO_MAX: f64 = 1.6;
/// This is the most that a GET of 4 KiB on an open connection may cost more, in microseconds.
const SMALL_ADDED_US_MAX: f64 = 3.0;
const MIB: u64 = 1 << 20;

#[derive(Parser, Debug)]
#[command(about = "What TLS costs the server")]
struct Options {
    /// The server; by default the one built beside this program.
    #[arg(long)]
    ringbolt: Option<PathBuf>,
    /// Where the data directories are made; must be on a file system with direct I/O.
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
    /// Core of the servers.
    #[arg(long, default_value_t = 0)]
    core: usize,
    /// Core of the client.
    #[arg(long, default_value_t = 1)]
    client_core: usize,
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

/// This is the closed-loop load on one server.
struct Load {
    engine: S3Engine,
    clock: Clock,
    scenario: Scenario,
    server_pid: u32,
}

impl Load {
    fn start(scenario: Scenario, server: &Server, https: Https, options: &Options) -> Result<Self, AnyError> {
        let objects = Objects {
            host: server.address.to_string(),
            access_key: ACCESS_KEY.into(),
            secret_key: SECRET_KEY.into(),
            objects: scenario.objects,
            ops: Some(vec![(scenario.op, 1)]),
            client_wait: ClientWait::Poll,
            https,
            ..Objects::default()
        };
        let block = ByDirection::same(BlockSize::Fixed(scenario.bytes));
        let name = scenario.name.replace(' ', "-").to_lowercase();
        let job = Job { block, depth: options.connections, objects, ..Job::plain(&name, Engine::S3) };
        let clock = Clock::start();
        let mut engine = S3Engine::new(&job, 0, clock)?;
        engine.prepare(&mut |_| ())?;
        let mut load = Self { engine, clock, scenario, server_pid: server.pid() };
        (0..options.connections).for_each(|slot| load.submit(slot));
        Ok(load)
    }

    fn submit(&mut self, slot: u32) {
        let number = fastrand::u64(..self.scenario.objects);
        let verb = if self.scenario.op == ObjectOp::Put { Verb::Write } else { Verb::Read };
        let operation = Operation { verb, file: 0, offset: 0, length: self.scenario.bytes, number };
        self.engine.submit(slot, &operation);
    }

    /// Runs for a time with every slot busy, and returns how many requests were answered.
    fn run_for(&mut self, time: Duration) -> Result<u64, AnyError> {
        let end_ns = self.clock.now_ns() + time.as_nanos() as u64;
        let (mut answered, mut done) = (0, Vec::new());
        while self.clock.now_ns() < end_ns {
            self.engine.reap(1, None, &mut done)?;
            for completion in done.drain(..) {
                if completion.result != self.scenario.bytes as i64 {
                    return Err(format!(
                        "a request failed ({}): {:?}",
                        completion.result,
                        self.engine.notes()
                    )
                    .into());
                }
                answered += 1;
                self.submit(completion.slot);
            }
        }
        Ok(answered)
    }

    /// Waits for what is under way, so that the other server's turn is its own.
    fn rest(&mut self, connections: u32) -> Result<Vec<u32>, AnyError> {
        let (mut idle, mut done) = (Vec::new(), Vec::new());
        while idle.len() < connections as usize {
            self.engine.reap(1, None, &mut done)?;
            idle.extend(done.drain(..).map(|completion| completion.slot));
        }
        Ok(idle)
    }

    /// Returns the server's CPU time of a request, in microseconds.
    fn turn(&mut self, options: &Options, idle: Vec<u32>) -> Result<(f64, Vec<u32>), AnyError> {
        idle.into_iter().for_each(|slot| self.submit(slot));
        self.run_for(Duration::from_millis(options.turn_ms / 5))?;
        let before_ns = process_cpu_ns(self.server_pid)?;
        let answered = self.run_for(Duration::from_millis(options.turn_ms))?;
        let used_ns = process_cpu_ns(self.server_pid)? - before_ns;
        Ok((used_ns as f64 / 1000.0 / answered as f64, self.rest(options.connections)?))
    }
}

fn start(options: &Options, name: &str, tls: bool) -> Result<Server, AnyError> {
    let data = options.dir.join(name);
    if data.exists() {
        std::fs::remove_dir_all(&data)?;
    }
    std::fs::create_dir_all(&options.dir)?;
    let mut server = Server::start_ringbolt(&ServeOptions {
        program: options.ringbolt.clone().unwrap_or_else(default_program),
        data,
        size: "1GiB".into(),
        memory: options.memory.clone(),
        core: options.core,
        anonymous: false,
        read_cache: None,
        tls,
    })?;
    server.ready(Instant::now(), Duration::from_secs(180))?;
    Ok(server)
}

/// Measures one scenario by turns. Returns the medians of the plain server and of the other.
fn measure(
    options: &Options,
    scenario: Scenario,
    plain: &Server,
    tls: &Server,
) -> Result<(f64, f64), AnyError> {
    let mut loads = [
        Load::start(scenario, plain, Https::Off, options)?,
        Load::start(scenario, tls, Https::Insecure, options)?,
    ];
    let mut idle = [loads[0].rest(options.connections)?, loads[1].rest(options.connections)?];
    let mut found = [Vec::new(), Vec::new()];
    for repeat in 1..=options.repeats {
        for side in 0..2 {
            let (us, rested) = loads[side].turn(options, std::mem::take(&mut idle[side]))?;
            idle[side] = rested;
            found[side].push(us);
        }
        println!(
            "{repeat:2}: {}  plain {:8.2} us  TLS {:8.2} us",
            scenario.name,
            found[0][repeat - 1],
            found[1][repeat - 1]
        );
    }
    Ok((median(&found[0]), median(&found[1])))
}

fn run(options: &Options) -> Result<bool, AnyError> {
    let (plain, tls) = (start(options, "plain", false)?, start(options, "tls", true)?);
    let mut verdicts = Verdicts::default();
    for scenario in SCENARIOS {
        let measured = on_core(options.client_core, || {
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
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("tls: {error}");
            ExitCode::from(2)
        }
    }
}
