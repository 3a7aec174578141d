//! Measures what a client waits while another one abuses the server: the 99th percentile of signed GETs of 4 KiB at a
//! steady rate, alone and with somebody at each of the limits.
//!
//! `cargo build --release && cargo run --release -p ringbolt-benches --bin limits`
//!
//! The server has one core, and all clients share the other, on which the client under test comes first. It sends a
//! request every two milliseconds, whether the one before was answered or not. Whoever abuses the server comes from
//! another address of the loopback network, and does as fast as it is let: it never waits by itself.

use clap::{Parser, ValueEnum};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use ringbolt_bench::cli::RunOptions;
use ringbolt_bench::job::{self, Surroundings};
use ringbolt_bench::run::{Unwatched, run};
use ringbolt_benches::http::process::{ACCESS_KEY, SECRET_KEY, ServeOptions, Server};
use ringbolt_benches::place::{self, Place};
use ringbolt_benches::stats::median;
use ringbolt_benches::usage::on_core;
use ringbolt_benches::verdict::{Verdicts, at_most, exit_code};
use ringbolt_tool_common::s3::client::Client;
use ringbolt_tool_common::s3::request::Renderer;
use ringbolt_tool_common::s3::sign::Credentials;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// This is the most that the 99th percentile may be, as a multiple of what it is without abuse.
const RATIO_MAX: f64 = 2.0;
const OBJECT_BYTES: usize = 4096;
const LARGE_BYTES: usize = 1 << 20;
const INTERVAL: Duration = Duration::from_millis(2);
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Parser, Debug)]
#[command(about = "What others wait while a client is at a limit")]
struct Options {
    #[command(flatten)]
    place: Place,
    #[arg(long, default_value_t = 11)]
    repeats: usize,
    /// Measured milliseconds of each turn.
    #[arg(long, default_value_t = 1500)]
    turn_ms: u64,
    /// Measures this one alone; may be given again.
    #[arg(long)]
    only: Vec<Abuse>,
}

type AnyError = Box<dyn std::error::Error>;

/// Names what somebody does to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Abuse {
    SlowHeads,
    Connections,
    Requests,
    Bytes,
    InFlight,
    Handshakes,
    SilentHandshakes,
}

impl Abuse {
    fn name(self) -> &'static str {
        match self {
            Self::SlowHeads => "heads that trickle (100 connections)",
            Self::Connections => "connections beyond those of an address",
            Self::Requests => "requests beyond a rate (16 connections)",
            Self::Bytes => "bytes beyond a rate (8 connections)",
            Self::InFlight => "requests at the same time beyond a number (32 connections)",
            Self::Handshakes => "handshakes of TLS without end",
            Self::SilentHandshakes => "handshakes of TLS that stand still (100 connections)",
        }
    }

    fn is_of_tls(self) -> bool {
        matches!(self, Self::Handshakes | Self::SilentHandshakes)
    }

    /// Returns the limits that the server has against it.
    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::SlowHeads | Self::SilentHandshakes => &[],
            Self::Connections => &["--connections-per-address", "50"],
            Self::Requests => &["--key-requests", "1000"],
            Self::Bytes => &["--key-bytes", "20MiB"],
            Self::InFlight => &["--key-in-flight", "4"],
            Self::Handshakes => &["--handshakes-per-address", "20"],
        }
    }

    fn connections(self) -> usize {
        match self {
            Self::SlowHeads | Self::SilentHandshakes => 100,
            Self::Connections => 4,
            Self::Requests => 16,
            Self::Bytes => 8,
            Self::InFlight => 32,
            Self::Handshakes => 4,
        }
    }
}

/// Connects from another address of this machine.
fn connect_from(local: [u8; 4], to: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let [a, b, c, d] = local;
    bind(socket.as_raw_fd(), &SockaddrIn::new(a, b, c, d, 0))?;
    connect(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, to.port()))?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads one answer, whose status is returned. A connection that ends is an error.
fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<u16> {
    let mut piece = vec![0; 256 << 10];
    buffer.clear();
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
            let mut left = (end + 4 + length).saturating_sub(buffer.len());
            while left > 0 {
                let count = stream.read(&mut piece)?;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                left = left.saturating_sub(count);
            }
            return head
                .split(' ')
                .nth(1)
                .and_then(|status| status.parse().ok())
                .ok_or(io::ErrorKind::InvalidData.into());
        }
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => buffer.extend_from_slice(&piece[..count]),
        }
    }
}

/// Somebody who abuses the server until it is dropped.
struct Abuser {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    done: Arc<AtomicU64>,
}

impl Abuser {
    fn start(abuse: Abuse, to: SocketAddr, request: &[u8]) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let one = |_| {
            let (stop, done, request) = (stop.clone(), done.clone(), request.to_vec());
            std::thread::spawn(move || {
                give_way();
                while !stop.load(Relaxed) {
                    // It is turned away at times, and tries again.
                    let _ = attempt(abuse, to, &request, &stop, &done);
                }
            })
        };
        let threads = (0..abuse.connections()).map(one).collect();
        Self { stop, threads, done }
    }

    /// Returns how often it did what it does.
    fn stop(mut self) -> u64 {
        self.stop.store(true, Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
        self.done.load(Relaxed)
    }
}

/// Uses one connection for as long as it is let.
fn attempt(
    abuse: Abuse,
    to: SocketAddr,
    request: &[u8],
    stop: &AtomicBool,
    done: &AtomicU64,
) -> io::Result<()> {
    let mut stream = connect_from([127, 0, 0, 2], to)?;
    let mut buffer = Vec::new();
    match abuse {
        Abuse::SlowHeads | Abuse::SilentHandshakes => {
            let bytes: &[u8] =
                if abuse == Abuse::SlowHeads { b"GET /b/k HTTP/1.1\r\nx: " } else { &[0x16, 3, 1, 2] };
            for at in 0.. {
                if stop.load(Relaxed) {
                    return Ok(());
                }
                stream.write_all(&[*bytes.get(at).unwrap_or(&b'x')])?;
                done.fetch_add(1, Relaxed);
                pause(Duration::from_millis(100));
            }
        }
        Abuse::Connections => {
            // Each is kept until there are too many, and the next is turned away.
            let mut kept = vec![stream];
            while !stop.load(Relaxed) {
                let mut next = connect_from([127, 0, 0, 2], to)?;
                next.set_read_timeout(Some(Duration::from_millis(1)))?;
                done.fetch_add(1, Relaxed);
                let is_kept = next.read(&mut [0]).is_err();
                if is_kept {
                    kept.push(next);
                }
            }
        }
        Abuse::Requests | Abuse::Bytes | Abuse::InFlight => {
            while !stop.load(Relaxed) {
                stream.write_all(request)?;
                read_answer(&mut stream, &mut buffer)?;
                done.fetch_add(1, Relaxed);
            }
        }
        Abuse::Handshakes => {
            // The first message of a client, to which the server answers with its signature.
            stream.write_all(&client_hello())?;
            if stream.read(&mut [0; 16 << 10])? > 0 {
                done.fetch_add(1, Relaxed);
            }
        }
    }
    Ok(())
}

/// Lets the client under test, on the same core, run before this thread whenever it wants to: what it waits is then
/// the server's doing.
fn give_way() {
    let thread = nix::unistd::gettid().to_string();
    let outcome = Command::new("chrt").args(["--idle", "--pid", "0", &thread]).status();
    assert!(outcome.is_ok_and(|status| status.success()), "chrt, of util-linux, has a thread give way");
}

#[expect(clippy::disallowed_methods, reason = "a client that is slow on purpose, on a thread of its own")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Returns a first message of TLS 1.3 with one group and three suites: a server does all its work for it.
fn client_hello() -> Vec<u8> {
    let mut connection = hello();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap_or_else(|error| panic!("to memory: {error}"));
    bytes
}

fn hello() -> rustls::ClientConnection {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.unwrap_or_else(|error| panic!("the default versions: {error}"));
    let config = builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap_or_else(|_| panic!("a name"));
    rustls::ClientConnection::new(Arc::new(config), name).unwrap_or_else(|error| panic!("a client: {error}"))
}

/// The account of whoever abuses the server.
fn other() -> Credentials {
    Credentials {
        access_key: "RINGBOLTABUSER000000".into(),
        secret_key: "abuser-only-secret-key-0123456789abcdef".into(),
        region: "us-east-1".into(),
    }
}

/// Writes the accounts of both clients. The keys of the first come from the environment.
fn write_accounts(serve: &ServeOptions) -> io::Result<()> {
    std::fs::create_dir_all(&serve.data)?;
    let account = |access_key: &str, secret_key: &str, id: char| {
        format!(
            "[[account]]\naccess_key = \"{access_key}\"\nsecret_key = \"{secret_key}\"\ncanonical_id = \"{}\"\n\
             display_name = \"{id}\"\nemail = \"\"\n",
            id.to_string().repeat(64)
        )
    };
    let Credentials { access_key, secret_key, .. } = other();
    let text = account(ACCESS_KEY, SECRET_KEY, 'a') + &account(&access_key, &secret_key, 'b');
    let path = serve.data.join("users.toml");
    std::fs::write(&path, text)?;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
}

fn start(options: &Options, abuse: Abuse) -> Result<Server, AnyError> {
    let serve = ServeOptions {
        memory: "512MiB".into(),
        tls: abuse.is_of_tls(),
        flags: abuse.flags().iter().map(|flag| (*flag).to_owned()).collect(),
        ..options.place.fresh("limits")?
    };
    write_accounts(&serve)?;
    Ok(place::start(&serve)?)
}

/// Returns the request that the abuser repeats; its object is put before.
fn prepared(abuse: Abuse, server: &Server) -> Result<Vec<u8>, AnyError> {
    let bytes = match abuse {
        Abuse::Bytes | Abuse::InFlight => LARGE_BYTES,
        Abuse::Requests => OBJECT_BYTES,
        _ => return Ok(Vec::new()),
    };
    let mut client = Client::new(server.address, other(), LIMIT);
    for (path, body) in [("/abuser", Vec::new()), ("/abuser/key", vec![7; bytes])] {
        let answer = client.send("PUT", path, &body)?;
        if !answer.is_success() {
            return Err(format!("PUT {path}: {} {}", answer.status, answer.text()).into());
        }
    }
    Ok(Renderer { address: server.address, credentials: other() }.signed("GET", "/abuser/key").to_vec())
}

/// Returns the 99th percentile of what the client under test waits, in microseconds, from when a request is sent.
fn waited_us(options: &Options, abuse: Abuse, server: &Server) -> Result<f64, AnyError> {
    let https = if abuse.is_of_tls() { "insecure" } else { "off" };
    let rate = 1_000_000_000 / INTERVAL.as_nanos();
    let text = format!(
        "[under-test]\nioengine=s3\nhttp_host={}\nhttps={https}\nhttp_s3_keyid={ACCESS_KEY}\nhttp_s3_key={SECRET_KEY}\n\
         http_s3_region=us-east-1\nop=get\nobjects=200\nbs={OBJECT_BYTES}\niodepth=4\nrate_iops={rate}\ntime_based\n\
         runtime={}ms\nclient_wait=sleep\n",
        server.address, options.turn_ms
    );
    let resolved = job::of_text(&text, std::path::Path::new("limits"), &Surroundings::of_process());
    let resolved = resolved.map_err(|error| error.to_string())?;
    let result = run(&resolved.plan, &RunOptions::default(), &mut Unwatched)?;
    let job = result.only_result()?;
    if let Some(text) = &job.error_text {
        return Err(text.clone().into());
    }
    Ok(job.by_direction.read.lat.percentile_ns(99.0) as f64 / 1000.0)
}

/// Measures one abuse by turns, and returns the median of the ratios, and of how often it was done in a second.
fn measure(options: &Options, abuse: Abuse, server: &Server) -> Result<(f64, f64), AnyError> {
    let request = prepared(abuse, server)?;
    // The objects are put in the first turn, which does not count.
    waited_us(options, abuse, server)?;
    let (mut ratios, mut rates) = (Vec::new(), Vec::new());
    for repeat in 1..=options.repeats {
        let alone = waited_us(options, abuse, server)?;
        let (abuser, began) = (Abuser::start(abuse, server.address, &request), Instant::now());
        let beside = waited_us(options, abuse, server);
        let seconds = began.elapsed().as_secs_f64();
        let done = abuser.stop();
        let beside = beside?;
        println!("{repeat:2}: {}: alone {alone:8.0} us, beside it {beside:8.0} us", abuse.name());
        ratios.push(beside / alone);
        rates.push(done as f64 / seconds);
    }
    Ok((median(&ratios), median(&rates)))
}

fn measure_all(options: &Options) -> Result<bool, AnyError> {
    let mut verdicts = Verdicts::default();
    let is_wanted = |abuse: &Abuse| options.only.is_empty() || options.only.contains(abuse);
    for abuse in Abuse::value_variants().iter().copied().filter(is_wanted) {
        let server = start(options, abuse)?;
        let measured = on_core(options.place.client_core, || {
            measure(options, abuse, &server).map_err(|error| error.to_string())
        })?;
        server.stop()?;
        let (ratio, rate) = measured?;
        println!("{}: {rate:.0} a second", abuse.name());
        verdicts.judge(&format!("p99 of others beside {}", abuse.name()), ratio, "times", at_most(RATIO_MAX));
    }
    Ok(verdicts.finish())
}

fn main() -> ExitCode {
    exit_code("limits", measure_all(&Options::parse()))
}
