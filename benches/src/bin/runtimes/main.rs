//! Decision 0001 measured again: the engine's ring, monoio, glommio and fio at storage, and the first three at sockets.
//!
//! `cargo run --release -p ringbolt-benches --features runtimes --bin runtimes -- all`
//!
//! Invariants: the contenders of a case take turns, and each turn begins with another one, so that none always goes
//! first. Medians are compared. The ring is what the others are divided by.

mod sockets;
mod storage;
mod tasks;

use clap::{Parser, ValueEnum};
use ringbolt_benches::fio;
use ringbolt_benches::stats::median;
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type AnyError = Box<dyn std::error::Error>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Random 4 KiB reads with O_DIRECT from one file, at each depth
    Storage,
    /// Requests and answers over loopback, at each number of connections
    Sockets,
    /// Both
    All,
    #[value(hide = true)]
    Server,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Contender {
    /// The engine's own ring
    Ring,
    Monoio,
    Glommio,
    /// Storage only
    Fio,
}

impl Contender {
    fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Monoio => "monoio",
            Self::Glommio => "glommio",
            Self::Fio => "fio",
        }
    }
}

/// What one contender gave in one turn.
#[derive(Clone, Copy, Debug, Serialize)]
struct Turn {
    operations_per_s: f64,
    cpu_us_per_operation: f64,
}

const ABOUT: &str = "Compares runtimes the way decision 0001 did: raw io_uring, monoio, glommio and fio

storage  Each contender keeps --depths random 4 KiB reads with O_DIRECT in flight on one
         file, on one pinned core.
sockets  Each contender is a server process on --server-core that answers requests with
         --body-bytes from memory; a load generator on --client-core checks every answer.

The contenders take turns; medians are compared, and divided by those of the ring.";

const EXAMPLES: &str = "How to read the table:
  CPU per operation is the column to rank by; it repeats within some percent. Rates of a
  virtual disk drift by tens of percent within minutes: that is why the turns alternate.
  In brackets is the smallest of the turns.

Examples:
  runtimes all                                         what decision 0001 quotes
  runtimes storage --depths 1,32 --seconds 2           a quick look
  runtimes storage --dir /mnt/nvme --size-gib 64       on the drive you mean to use
  runtimes sockets --connections 64 --body-bytes 1024
  runtimes all --json > runtimes.json                  every turn, for a program

You need fio 3.x, a file system with O_DIRECT, two cores that do nothing else, and for
glommio at least 512 KiB of locked memory (ulimit -l). Where others use the machine, run it
at real-time priority (chrt -r 1 runtimes all); nice does not help against other sessions.";

#[derive(Parser, Debug)]
#[command(name = "runtimes", about = ABOUT, after_help = EXAMPLES)]
struct Options {
    scenario: Scenario,
    /// Where the file is made (and removed again); must be on a file system with direct I/O
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
    /// Size of the file, GiB; it is written through once
    #[arg(long, default_value_t = 2)]
    size_gib: u64,
    /// Reads in flight, one case for each
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 32, 128])]
    depths: Vec<usize>,
    /// Connections, one case for each
    #[arg(long, value_delimiter = ',', default_values_t = [1, 32])]
    connections: Vec<usize>,
    /// Length of an answer's body
    #[arg(long, default_value_t = 4096)]
    body_bytes: usize,
    /// Core of the readers, and of the server
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// Core of the load generator
    #[arg(long, default_value_t = 1)]
    client_core: usize,
    /// Turns of each contender; odd, so that the median is one of them
    #[arg(long, default_value_t = 5, value_parser = odd)]
    repeats: usize,
    /// Measured seconds of each turn, after one second of ramp
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// Print one JSON document with every turn instead of the tables
    #[arg(long)]
    json: bool,
    /// Who serves, in the scenario `server`
    #[arg(long, value_enum, hide = true)]
    contender: Option<Contender>,
}

fn odd(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(number) if number % 2 == 1 => Ok(number),
        Ok(number) => Err(format!("{number} is even; give an odd number of turns")),
        Err(error) => Err(error.to_string()),
    }
}

/// All turns of one contender in one case.
#[derive(Debug, Serialize)]
struct Row {
    contender: &'static str,
    operations_per_s: f64,
    cpu_us_per_operation: f64,
    /// The medians divided by those of the ring.
    rate_over_ring: f64,
    cpu_over_ring: f64,
    turns: Vec<Turn>,
}

#[derive(Debug, Serialize)]
struct Case {
    /// Reads or connections.
    in_flight: usize,
    rows: Vec<Row>,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    kernel: String,
    storage: Vec<Case>,
    sockets: Vec<Case>,
}

/// Lets the contenders take turns. The first of them is what the others are divided by.
fn compare(
    in_flight: usize,
    contenders: &[Contender],
    repeats: usize,
    mut turn: impl FnMut(Contender) -> Result<Turn, AnyError>,
) -> Result<Case, AnyError> {
    let mut turns: Vec<Vec<Turn>> = contenders.iter().map(|_| Vec::new()).collect();
    for repeat in 0..repeats {
        for place in 0..contenders.len() {
            let at = (repeat + place) % contenders.len();
            let contender = contenders[at];
            let measured = turn(contender).map_err(|error| format!("{}: {error}", contender.name()))?;
            turns[at].push(measured);
        }
    }
    let rates = |turns: &[Turn]| turns.iter().map(|turn| turn.operations_per_s).collect::<Vec<_>>();
    let costs = |turns: &[Turn]| turns.iter().map(|turn| turn.cpu_us_per_operation).collect::<Vec<_>>();
    let (first_rate, first_cost) = (median(&rates(&turns[0])), median(&costs(&turns[0])));
    let row = |(contender, turns): (&Contender, Vec<Turn>)| {
        let (operations_per_s, cpu_us_per_operation) = (median(&rates(&turns)), median(&costs(&turns)));
        Row {
            contender: contender.name(),
            operations_per_s,
            cpu_us_per_operation,
            rate_over_ring: operations_per_s / first_rate,
            cpu_over_ring: cpu_us_per_operation / first_cost,
            turns,
        }
    };
    Ok(Case { in_flight, rows: contenders.iter().zip(turns).map(row).collect() })
}

fn measure_storage(options: &Options) -> Result<Vec<Case>, AnyError> {
    std::fs::create_dir_all(&options.dir)?;
    let file = std::path::absolute(options.dir.join("runtimes.bin"))?;
    let size_bytes = options.size_gib << 30;
    eprintln!("writing {} through, {} GiB", file.display(), options.size_gib);
    fio::write_through(&file, size_bytes, options.server_core)?;
    let case_of = |depth| storage::Case {
        file: &file,
        size_bytes,
        depth,
        core: options.server_core,
        seconds: options.seconds,
    };
    let cases = options.depths.iter().map(|depth| {
        eprintln!("storage, depth {depth}");
        let case = case_of(*depth);
        compare(*depth, &storage::CONTENDERS, options.repeats, |contender| storage::turn(case, contender))
    });
    let cases = cases.collect();
    std::fs::remove_file(&file)?;
    cases
}

fn measure_sockets(options: &Options) -> Result<Vec<Case>, AnyError> {
    let case_of = |connections| sockets::Case {
        connections,
        body_bytes: options.body_bytes,
        server_core: options.server_core,
        client_core: options.client_core,
        seconds: options.seconds,
    };
    let cases = options.connections.iter().map(|connections| {
        eprintln!("sockets, {connections} connections");
        let case = case_of(*connections);
        let turn = |contender| sockets::turn(case, contender);
        compare(*connections, &sockets::CONTENDERS, options.repeats, turn)
    });
    cases.collect()
}

fn print_table(name: &str, in_flight: &str, cases: &[Case]) {
    if cases.is_empty() {
        return;
    }
    println!("\n{name}\n");
    println!(
        "| {in_flight} | contender | operations/s | over the ring | CPU µs each (smallest) | over the ring |"
    );
    println!("|---|---|---|---|---|---|");
    for case in cases {
        for row in &case.rows {
            let smallest =
                row.turns.iter().map(|turn| turn.cpu_us_per_operation).fold(f64::INFINITY, f64::min);
            println!(
                "| {} | {} | {:.0} | {:.2} | {:.2} ({smallest:.2}) | {:.2} |",
                case.in_flight,
                row.contender,
                row.operations_per_s,
                row.rate_over_ring,
                row.cpu_us_per_operation,
                row.cpu_over_ring
            );
        }
    }
}

/// A runtime of monoio with the flags of the server's.
fn monoio_runtime() -> std::io::Result<monoio::Runtime<monoio::IoUringDriver>> {
    let mut rings = io_uring_06::IoUring::builder();
    rings.setup_single_issuer().setup_defer_taskrun();
    let builder = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new();
    builder.with_entries(1024).uring_builder(rings).build()
}

fn run(options: &Options) -> Result<(), AnyError> {
    if options.scenario == Scenario::Server {
        let contender = options.contender.ok_or("--contender is missing")?;
        let connections = *options.connections.first().ok_or("--connections is missing")?;
        return sockets::serve(contender, connections, options.body_bytes, options.server_core);
    }
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
    let mut report = Report { kernel, ..Report::default() };
    if options.scenario != Scenario::Sockets {
        report.storage = measure_storage(options)?;
    }
    if options.scenario != Scenario::Storage {
        report.sockets = measure_sockets(options)?;
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print_table("Random 4 KiB reads", "depth", &report.storage);
        print_table("Requests over loopback", "connections", &report.sockets);
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("runtimes: {error}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_contender_is_the_measure_and_medians_are_compared() {
        let mut order = Vec::new();
        let case = compare(8, &[Contender::Ring, Contender::Monoio], 3, |contender| {
            order.push(contender.name());
            let scale = if contender == Contender::Ring { 1.0 } else { 2.0 };
            let rate = [100.0, 100.0, 300.0, 300.0, 200.0, 200.0][order.len() - 1];
            Ok(Turn { operations_per_s: rate * scale, cpu_us_per_operation: scale })
        })
        .unwrap();
        assert_eq!(order, ["ring", "monoio", "monoio", "ring", "ring", "monoio"]);
        assert_eq!(case.rows[0].operations_per_s, 200.0);
        assert_eq!((case.rows[0].rate_over_ring, case.rows[1].rate_over_ring), (1.0, 2.0));
        assert_eq!(case.rows[1].cpu_over_ring, 2.0);
    }

    #[test]
    fn an_even_number_of_turns_is_refused() {
        assert_eq!(odd("5"), Ok(5));
        assert!(odd("4").is_err() && odd("x").is_err());
    }
}
