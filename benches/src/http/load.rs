//! This module is the load generator: keep-alive connections, each with one request in flight, on a
//! core that never sleeps.
//!
//! It polls instead of waiting, because waking a core that sleeps costs the waker microseconds in a
//! virtual machine, and over loopback the waker is the server. The server would pay for that
//! whenever it is slower than its clients, and not when it is faster, which is what is to be
//! measured.
//!
//! Invariants: requests are rendered before the clock starts. Every response is read completely and
//! checked; the first that is not as expected ends the run.

use super::client::{ClientError, READ_BYTES, check};
use super::request::Request;
use crate::stats::percentile;
use crate::usage::{on_core, own_cpu_us, process_cpu_ns};
use ringbolt_tool_common::s3::answer::Answer;
use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Says what is requested, how often and for how long.
#[derive(Clone)]
pub struct Load {
    pub address: SocketAddr,
    /// This is the process whose CPU time is measured.
    pub server_pid: u32,
    pub connections: usize,
    pub ramp: Duration,
    pub runtime: Duration,
    /// This is the core of the load generator.
    pub core: usize,
    /// This is how long the generator rests when no connection has anything for it; `None` means
    /// never, as the module says. If the server computes for a long time, a generator that polls
    /// takes power from a core that shares its hardware.
    pub rest: Option<Duration>,
    /// Requests are picked at random.
    pub requests: Arc<Vec<Request>>,
}

#[derive(Clone, Copy, Debug)]
pub struct LoadReport {
    pub requests_per_s: f64,
    pub server_cpu_us: f64,
    /// This is the share of one core that the server used. It should be near 1; otherwise the
    /// client limited the rate.
    pub server_busy: f64,
    pub client_cpu_us: f64,
    pub p50_us: f64,
    pub p99_us: f64,
}

#[derive(Clone, Copy)]
struct Mark {
    at: Instant,
    server_ns: u64,
    client_us: u64,
}

struct Run {
    load: Load,
    started: Instant,
    begin: Cell<Option<Mark>>,
    end: Cell<Option<Mark>>,
    latencies_ns: RefCell<Vec<u32>>,
}

impl Run {
    fn mark(&self) -> io::Result<Mark> {
        let server_ns = process_cpu_ns(self.load.server_pid)?;
        Ok(Mark { at: Instant::now(), server_ns, client_us: own_cpu_us()? })
    }

    /// Counts one response; returns false when the connection must stop.
    fn account(&self, issued: Instant) -> io::Result<bool> {
        let now = Instant::now();
        let elapsed = now - self.started;
        if elapsed < self.load.ramp {
            return Ok(true);
        }
        if self.begin.get().is_none() {
            self.begin.set(Some(self.mark()?));
            return Ok(true);
        }
        if elapsed >= self.load.ramp + self.load.runtime {
            if self.end.get().is_none() {
                self.end.set(Some(self.mark()?));
            }
            return Ok(false);
        }
        self.latencies_ns.borrow_mut().push((now - issued).as_nanos().min(u32::MAX as u128) as u32);
        Ok(true)
    }

    fn report(&self) -> Result<LoadReport, ClientError> {
        let mut latencies = self.latencies_ns.borrow_mut();
        let (Some(begin), Some(end), false) = (self.begin.get(), self.end.get(), latencies.is_empty()) else {
            return Err(ClientError::NothingMeasured);
        };
        let requests = latencies.len() as f64;
        let seconds = (end.at - begin.at).as_secs_f64();
        let server_us = (end.server_ns - begin.server_ns) as f64 / 1000.0;
        Ok(LoadReport {
            requests_per_s: requests / seconds,
            server_cpu_us: server_us / requests,
            server_busy: server_us / 1e6 / seconds,
            client_cpu_us: (end.client_us - begin.client_us) as f64 / requests,
            p50_us: f64::from(percentile(&mut latencies, 0.50)) / 1000.0,
            p99_us: f64::from(percentile(&mut latencies, 0.99)) / 1000.0,
        })
    }
}

/// This is a connection with the request it has in flight.
struct Line {
    stream: TcpStream,
    /// This is the index of the request.
    request: usize,
    /// Counts the bytes of the request that the kernel has taken.
    sent: usize,
    issued: Instant,
    received: Vec<u8>,
}

/// Returns `None` for an operation that would have had to wait.
fn unless_blocked(outcome: io::Result<usize>) -> io::Result<Option<usize>> {
    match outcome {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Line {
    fn open(load: &Load) -> io::Result<Self> {
        let stream = TcpStream::connect(load.address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut line = Self { stream, request: 0, sent: 0, issued: Instant::now(), received: Vec::new() };
        line.issue(load)?;
        Ok(line)
    }

    fn issue(&mut self, load: &Load) -> io::Result<()> {
        self.request = fastrand::usize(..load.requests.len());
        (self.sent, self.issued) = (0, Instant::now());
        self.send(load)
    }

    fn send(&mut self, load: &Load) -> io::Result<()> {
        let left = &load.requests[self.request].bytes[self.sent..];
        if !left.is_empty() {
            self.sent += unless_blocked((&self.stream).write(left))?.unwrap_or(0);
        }
        Ok(())
    }

    /// Does what is possible without waiting, and returns whether a checked response has arrived.
    fn turn(&mut self, load: &Load, scratch: &mut [u8]) -> Result<bool, ClientError> {
        self.send(load)?;
        match unless_blocked((&self.stream).read(scratch))? {
            None => return Ok(false),
            Some(0) => return Err(ClientError::Closed),
            Some(count) => self.received.extend_from_slice(&scratch[..count]),
        }
        let Some(answer) = Answer::parse(&mut self.received)? else { return Ok(false) };
        check(&answer, &load.requests[self.request])?;
        Ok(true)
    }
}

/// Runs the load to its end on a thread pinned to `load.core`.
pub fn run_load(load: Load) -> Result<LoadReport, ClientError> {
    on_core(load.core, || run_load_here(load))?
}

fn run_load_here(load: Load) -> Result<LoadReport, ClientError> {
    let mut lines =
        (0..load.connections).map(|_| Line::open(&load)).collect::<Result<Vec<_>, io::Error>>()?;
    let run = Run {
        load,
        started: Instant::now(),
        begin: Cell::new(None),
        end: Cell::new(None),
        latencies_ns: RefCell::new(Vec::with_capacity(1 << 20)),
    };
    let mut scratch = vec![0; READ_BYTES];
    // Without this limit, the loop would never end if the server does not respond at all.
    let limit = run.load.ramp + run.load.runtime + SILENCE_MAX;
    while run.end.get().is_none() {
        let mut idle = true;
        for line in &mut lines {
            if !line.turn(&run.load, &mut scratch)? {
                continue;
            }
            idle = false;
            if !run.account(line.issued)? {
                break;
            }
            line.issue(&run.load)?;
        }
        if let Some(rest) = run.load.rest.filter(|_| idle) {
            #[expect(clippy::disallowed_methods, reason = "leaves the hardware to the server")]
            std::thread::sleep(rest);
        }
        if run.started.elapsed() > limit {
            return Err(ClientError::NothingMeasured);
        }
    }
    run.report()
}

const SILENCE_MAX: Duration = Duration::from_secs(30);
