//! A lean HTTP/1.1 load generator: keep-alive connections on monoio, each with one request in flight.
//!
//! Invariants: requests are rendered before the clock starts. Every answer is read whole; its status must be 2xx
//! and its body what the request expects, or the run fails: a fast error is not a result.

use super::request::Request;
use crate::stats::percentile;
use crate::usage::{on_core, own_cpu_us, process_cpu_ns};
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpStream;
use ringbolt_tools::s3::answer::{Answer, Malformed};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

const READ_BYTES: usize = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("connection: {0}")]
    Io(#[from] io::Error),
    #[error("the server closed the connection in the middle of an answer")]
    Closed,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the server answered {status}: {body}")]
    Status { status: u16, body: String },
    #[error("the answer's body of {length} bytes is not the object's")]
    WrongBody { length: usize },
    #[error("no request ended within the measured time; run longer")]
    NothingMeasured,
}

/// What is asked for, how often and for how long.
#[derive(Clone)]
pub struct Load {
    pub address: SocketAddr,
    /// Process whose CPU time is accounted.
    pub server_pid: u32,
    pub connections: usize,
    pub ramp: Duration,
    pub runtime: Duration,
    /// Core of the load generator.
    pub core: usize,
    /// Picked at random.
    pub requests: Arc<Vec<Request>>,
}

#[derive(Clone, Copy, Debug)]
pub struct LoadReport {
    pub requests_per_s: f64,
    pub server_cpu_us: f64,
    /// Share of one core that the server used: near 1, or the client was what limited the rate.
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
    failure: RefCell<Option<ClientError>>,
}

impl Run {
    fn mark(&self) -> io::Result<Mark> {
        let server_ns = process_cpu_ns(self.load.server_pid)?;
        Ok(Mark { at: Instant::now(), server_ns, client_us: own_cpu_us()? })
    }

    /// Accounts one answer; false when the connection must stop.
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
        Ok(self.failure.borrow().is_none())
    }

    fn report(&self) -> Result<LoadReport, ClientError> {
        if let Some(error) = self.failure.borrow_mut().take() {
            return Err(error);
        }
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

/// A connection with its read buffer.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Result<Self, ClientError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(READ_BYTES) })
    }

    /// Sends one request and reads its whole answer.
    pub async fn ask(&mut self, request: bytes::Bytes) -> Result<Answer, ClientError> {
        self.stream.write_all(request).await.0?;
        let mut received = Vec::with_capacity(8 << 10);
        loop {
            let (outcome, buffer) = self.stream.read(std::mem::take(&mut self.buffer)).await;
            self.buffer = buffer;
            let length = outcome?;
            if length == 0 {
                return Err(ClientError::Closed);
            }
            received.extend_from_slice(&self.buffer[..length]);
            if let Some(answer) = Answer::parse(&mut received)? {
                return Ok(answer);
            }
        }
    }

    /// As [`Connection::ask`], with the answer held against what the request expects.
    pub async fn ask_checked(&mut self, request: &Request) -> Result<(), ClientError> {
        let answer = self.ask(request.bytes.clone()).await?;
        if !answer.is_success() {
            return Err(ClientError::Status { status: answer.status, body: answer.text() });
        }
        match &request.expected_body {
            Some(expected) if expected[..] != answer.body[..] => {
                Err(ClientError::WrongBody { length: answer.body.len() })
            }
            _ => Ok(()),
        }
    }
}

async fn run_connection(run: &Run) -> Result<(), ClientError> {
    let mut connection = Connection::open(run.load.address).await?;
    loop {
        let request = &run.load.requests[fastrand::usize(..run.load.requests.len())];
        let issued = Instant::now();
        connection.ask_checked(request).await?;
        if !run.account(issued)? {
            return Ok(());
        }
    }
}

/// Runs `future` on a monoio runtime of this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> io::Result<T> {
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().with_entries(1024).build()?;
    Ok(runtime.block_on(future))
}

/// Runs the load to its end on a thread kept on `load.core`.
pub fn run_load(load: Load) -> Result<LoadReport, ClientError> {
    on_core(load.core, || run_load_here(load))?
}

fn run_load_here(load: Load) -> Result<LoadReport, ClientError> {
    let run = Rc::new(Run {
        load,
        started: Instant::now(),
        begin: Cell::new(None),
        end: Cell::new(None),
        latencies_ns: RefCell::new(Vec::with_capacity(1 << 20)),
        failure: RefCell::new(None),
    });
    block_on(async {
        let connections: Vec<_> = (0..run.load.connections)
            .map(|_| {
                let run = run.clone();
                monoio::spawn(async move {
                    if let Err(error) = run_connection(&run).await {
                        run.failure.borrow_mut().get_or_insert(error);
                    }
                })
            })
            .collect();
        for connection in connections {
            connection.await;
        }
    })?;
    run.report()
}
