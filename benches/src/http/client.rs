//! This module is a small HTTP/1.1 client on monoio, and what it shares with the load generator.
//!
//! Invariant: every response is read completely; its status must be 2xx and its body what the
//! request expects, or the run fails: a fast error is not a result.

use super::request::Request;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpStream;
use ringbolt_tool_common::s3::answer::{Answer, Malformed};
use std::io;
use std::net::SocketAddr;

/// The buffer has room for the bytes of one receive.
pub(super) const READ_BYTES: usize = 64 << 10;

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

/// Compares a response with what the request expects.
pub(super) fn check(answer: &Answer, request: &Request) -> Result<(), ClientError> {
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

/// This is a connection with its read buffer.
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

    /// Sends one request and reads its complete response.
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

    /// Sends a request as [`Connection::ask`] does, and compares the response with what the request
    /// expects.
    pub async fn ask_checked(&mut self, request: &Request) -> Result<(), ClientError> {
        check(&self.ask(request.bytes.clone()).await?, request)
    }
}

/// Runs `future` on a monoio runtime of this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> io::Result<T> {
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().with_entries(1024).build()?;
    Ok(runtime.block_on(future))
}
