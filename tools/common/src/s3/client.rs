//! This module is a blocking client: one connection, one request at a time, and no request is ever
//! repeated.

use super::answer::Answer;
use super::request::{Payload, Renderer};
use super::sign::Credentials;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const READ_BYTES: usize = 256 << 10;

/// Sends requests and waits for their responses.
pub struct Client {
    renderer: Renderer,
    /// A response that takes longer counts as missing.
    limit: Duration,
    stream: Option<TcpStream>,
}

impl Client {
    pub fn new(address: SocketAddr, credentials: Credentials, limit: Duration) -> Self {
        Self { renderer: Renderer { address, credentials }, limit, stream: None }
    }

    /// Sends a request without a body. `path` must be percent-encoded and includes the query.
    ///
    /// # Errors
    /// Fails when the connection ends before the response does, or when the response takes too
    /// long.
    pub fn ask(&mut self, method: &str, path: &str) -> io::Result<Answer> {
        let request = self.renderer.signed(method, path);
        self.exchange(&request)
    }

    /// Sends a request with a body, which may be empty.
    ///
    /// # Errors
    /// Fails as [`Client::ask`] does.
    pub fn send(&mut self, method: &str, path: &str, body: &[u8]) -> io::Result<Answer> {
        // The documents of POST requests are not objects, so they have no checksum of their own.
        let payload = if method == "POST" { Payload::Signed } else { Payload::UnsignedWithCrc32c };
        let request = self.renderer.signed_with_body(method, path, body, payload);
        self.exchange(&request)
    }

    fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        // A server that refuses a request early may close the connection before it has read the
        // body; its response counts nevertheless.
        let sent = stream.write_all(request);
        let answer = read_answer(&mut stream, sent.err())?;
        let closes = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        self.stream = (!closes).then_some(stream);
        Ok(answer)
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.renderer.address, self.limit)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.limit))?;
        stream.set_write_timeout(Some(self.limit))?;
        Ok(stream)
    }
}

fn read_answer(stream: &mut TcpStream, send_error: Option<io::Error>) -> io::Result<Answer> {
    let mut buffer = vec![0; READ_BYTES];
    let mut received = Vec::new();
    loop {
        let length = match stream.read(&mut buffer) {
            Ok(0) => return Err(send_error.unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())),
            Ok(length) => length,
            Err(error) => return Err(send_error.unwrap_or(error)),
        };
        received.extend_from_slice(&buffer[..length]);
        if let Some(answer) = Answer::parse(&mut received).map_err(io::Error::other)? {
            return Ok(answer);
        }
    }
}
