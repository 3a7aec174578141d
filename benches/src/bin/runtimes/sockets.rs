//! Requests and answers over loopback: the engine's ring, monoio and glommio as servers, one process each.
//!
//! Invariants:
//! - Every server does the same: it reads to the empty line that ends a request, and sends head and body of the answer
//!   in one write from memory. None parses more than that: what is compared is the way of the bytes, not HTTP.
//! - The load generator is the one of the other comparisons: it checks each answer and has a core of its own.
//! - Sockets have TCP_NODELAY, and the server is pinned to its core.

use crate::tasks::{self, Task};
use crate::{AnyError, Contender, Turn};
use bytes::Bytes;
use futures_util::io::{AsyncReadExt, AsyncWriteExt};
use glommio::{LocalExecutorBuilder, Placement};
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use ringbolt_benches::http::load::{Load, run_load};
use ringbolt_benches::http::process::Server;
use ringbolt_benches::http::request::Request;
use ringbolt_benches::usage::pin_to_core;
use ringbolt_engine::ring::uring::Target;
use ringbolt_engine::ring::{Buffer, Pool, Ring};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::AtomicI32;
use std::time::Duration;

/// Room for a request.
const REQUEST_BYTES: usize = 4096;
const REQUEST_END: &[u8] = b"\r\n\r\n";

/// The contenders of this comparison, in the order of the table.
pub const CONTENDERS: [Contender; 3] = [Contender::Ring, Contender::Monoio, Contender::Glommio];

/// One case: what every contender does.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub connections: usize,
    pub body_bytes: usize,
    pub server_core: usize,
    pub client_core: usize,
    pub seconds: u32,
}

/// Runs one turn: a server process of the contender, and the load generator here.
pub fn turn(case: Case, contender: Contender) -> Result<Turn, AnyError> {
    let (connections, body) = (case.connections.to_string(), case.body_bytes.to_string());
    let core = case.server_core.to_string();
    let server = Server::start_own(&[
        "server",
        "--contender",
        contender.name(),
        "--connections",
        &connections,
        "--body-bytes",
        &body,
        "--server-core",
        &core,
    ])?;
    let request = Request {
        bytes: Bytes::from(format!("GET /bench/4k HTTP/1.1\r\nhost: {}\r\n\r\n", server.address)),
        expected_body: Some(Bytes::from(body_of(case.body_bytes))),
    };
    let report = run_load(Load {
        address: server.address,
        server_pid: server.pid(),
        connections: case.connections,
        ramp: Duration::from_secs(1),
        runtime: Duration::from_secs(u64::from(case.seconds)),
        core: case.client_core,
        rest: None,
        requests: Arc::new(vec![request]),
    })?;
    Ok(Turn { operations_per_s: report.requests_per_s, cpu_us_per_operation: report.server_cpu_us })
}

/// Serves `connections` connections until the process is ended; prints its address when it is ready.
pub fn serve(
    contender: Contender,
    connections: usize,
    body_bytes: usize,
    core: usize,
) -> Result<(), AnyError> {
    pin_to_core(core)?;
    let body = body_of(body_bytes);
    let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(&body);
    match contender {
        Contender::Ring => ring(connections, &answer),
        Contender::Monoio => monoio(answer),
        Contender::Glommio => glommio(core, answer),
        Contender::Fio => Err("fio has no sockets here".into()),
    }
}

fn body_of(bytes: usize) -> Vec<u8> {
    vec![0x5a; bytes]
}

fn listen() -> io::Result<TcpListener> {
    TcpListener::bind("127.0.0.1:0")
}

fn say_ready(address: SocketAddr) {
    println!("{address}");
}

/// The engine's ring has registered files only, so every connection is accepted before the ring is made.
fn ring(connections: usize, answer: &[u8]) -> Result<(), AnyError> {
    let listener = listen()?;
    say_ready(listener.local_addr()?);
    let mut streams: Vec<TcpStream> = Vec::new();
    while streams.len() < connections {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    let files: Vec<_> = streams.iter().map(AsRawFd::as_raw_fd).collect();
    let pool = Pool::new(connections * (REQUEST_BYTES + answer.len().next_power_of_two()))?;
    let ring = Ring::new(0, Arc::new(vec![AtomicI32::new(-1)]), &files, pool.clone(), false)?;
    let length = answer.len();
    let mut running: Vec<Task> = Vec::new();
    for file in 0..connections as u32 {
        let mut answer_buffer = pool.try_take(length).ok_or("no memory for answers")?;
        answer_buffer[..length].copy_from_slice(answer);
        let request_buffer = pool.try_take(REQUEST_BYTES).ok_or("no memory for requests")?;
        running.push(Box::pin(ring_connection(ring.clone(), file, request_buffer, answer_buffer, length)));
    }
    match tasks::run(&ring, running) {
        // The load generator leaves in the middle of its last requests.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        outcome => Ok(outcome?),
    }
}

async fn ring_connection(
    ring: Ring,
    file: u32,
    mut request: Buffer,
    mut answer: Buffer,
    length: usize,
) -> io::Result<()> {
    loop {
        let mut filled = 0;
        while !request[..filled].ends_with(REQUEST_END) {
            let target = Target { file, offset: 0, skip: filled, length: REQUEST_BYTES - filled };
            let done = ring.read(target, request).await;
            request = done.buffer.ok_or_else(without_buffer)?;
            match bytes_of(done.result)? {
                0 => return Ok(()),
                count => filled += count,
            }
        }
        let mut sent = 0;
        while sent < length {
            let target = Target { file, offset: 0, skip: sent, length: length - sent };
            let done = ring.write(target, answer, false).await;
            answer = done.buffer.ok_or_else(without_buffer)?;
            sent += bytes_of(done.result)?;
        }
    }
}

fn without_buffer() -> io::Error {
    io::Error::other("an operation came back without its buffer")
}

fn bytes_of(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

fn monoio(answer: Vec<u8>) -> Result<(), AnyError> {
    let mut runtime = crate::monoio_runtime()?;
    runtime.block_on(async {
        let listener = monoio::net::TcpListener::bind("127.0.0.1:0")?;
        say_ready(listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            monoio::spawn(monoio_connection(stream, answer.clone()));
        }
    })
}

async fn monoio_connection(mut stream: monoio::net::TcpStream, mut answer: Vec<u8>) -> io::Result<()> {
    let mut request = Vec::with_capacity(REQUEST_BYTES);
    let mut received = Vec::with_capacity(REQUEST_BYTES);
    loop {
        received.clear();
        while !received.ends_with(REQUEST_END) {
            let (outcome, buffer) = stream.read(request).await;
            request = buffer;
            if outcome? == 0 {
                return Ok(());
            }
            received.extend_from_slice(&request);
        }
        let (outcome, buffer) = stream.write_all(answer).await;
        answer = buffer;
        outcome?;
    }
}

fn glommio(core: usize, answer: Vec<u8>) -> Result<(), AnyError> {
    let executor = LocalExecutorBuilder::new(Placement::Fixed(core)).make()?;
    executor.run(async {
        let listener = glommio::net::TcpListener::bind("127.0.0.1:0")?;
        say_ready(listener.local_addr()?);
        loop {
            let stream = listener.accept().await?;
            stream.set_nodelay(true)?;
            glommio::spawn_local(glommio_connection(stream, answer.clone())).detach();
        }
    })
}

async fn glommio_connection(mut stream: glommio::net::TcpStream, answer: Vec<u8>) -> io::Result<()> {
    let mut request = vec![0; REQUEST_BYTES];
    loop {
        let mut filled = 0;
        while !request[..filled].ends_with(REQUEST_END) {
            match stream.read(&mut request[filled..]).await {
                Ok(0) => return Ok(()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        stream.write_all(&answer).await?;
    }
}
