//! This module is one connection with one request at a time: it sends the rendered request and
//! parses the response.
//!
//! Invariants: buffers belong to the line or to its slot and are reused for every request. A
//! connection is reused only after a response that ended where it said it would. A request is
//! repeated only when a kept connection turns out to be closed before the first byte of the
//! response, because a server may close it at any time.

use super::chunked::Decoder;
use super::endpoint::Endpoint;
use super::failure::Failure;
use super::head::{self, Framing, Head};
use super::sign::{Ask, Signer};
use super::tls::TlsStream;
use super::wire::Wire;
use monoio::net::TcpStream;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;

const RECEIVE_BYTES: usize = 64 << 10;
/// A body up to this size is sent in one piece with its head.
const JOINED_BYTES_MAX: usize = 64 << 10;
/// At most this much is kept of a body that is read as text.
const TEXT_BYTES_MAX: usize = 4 << 20;

/// Says where the body of a response is stored. The body of an error response is always read as
/// text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// Stores the body in the slot's buffer, as far as it fits.
    Buffer,
    /// Stores the body in [`Line::text`].
    Text,
}

/// Describes one exchange, apart from the rendered head.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// This is the range of the buffer to send: the first byte, and one past the last.
    pub upload: Option<(usize, usize)>,
    pub sink: Sink,
    /// Says that the response has no body, whatever its head says.
    pub head_only: bool,
    /// This is the largest expected body; a longer one of a success is refused at once.
    pub body_bytes_max: u64,
    pub repeatable: bool,
}

impl Call {
    /// This is a request without a body whose response is read as text.
    pub const PLAIN: Self =
        Self { upload: None, sink: Sink::Text, head_only: false, body_bytes_max: u64::MAX, repeatable: true };
}

/// Holds the parts of a request, which are filled before [`Line::exchange`].
#[derive(Debug, Default)]
pub struct Pieces {
    pub path: Vec<u8>,
    pub query: Vec<u8>,
    pub copy_source: Vec<u8>,
    /// This is the first and last byte.
    pub range: Option<(u64, u64)>,
}

impl Pieces {
    pub fn clear(&mut self) {
        self.path.clear();
        self.query.clear();
        self.copy_source.clear();
        self.range = None;
    }
}

/// Says why another task ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    TimedOut,
    /// The run or the job is over.
    Cut,
}

/// Ends a connection from outside of its task, also while it is being made: the task then sees the
/// end of the stream.
#[derive(Debug, Default)]
pub struct Control {
    stream: RefCell<Option<std::net::TcpStream>>,
    ending: Cell<Option<Ending>>,
    /// Counts connections that were made in place of an earlier one.
    pub again: Cell<u64>,
}

impl Control {
    /// Begins an operation.
    pub fn begin(&self) {
        self.ending.set(None);
    }

    /// Ends the current operation. If it is called more than once, the first reason counts.
    pub fn end(&self, why: Ending) {
        self.ending.set(self.ending.get().or(Some(why)));
        self.hang_up();
    }

    /// Returns why the operation was ended, if it was.
    pub fn ending(&self) -> Option<Ending> {
        self.ending.get()
    }

    fn hang_up(&self) {
        if let Some(stream) = self.stream.borrow().as_ref() {
            // This fails only when the connection is already closed.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Sends requests over one connection and receives the responses.
pub struct Line {
    endpoint: Endpoint,
    wire: Option<Wire>,
    control: Rc<Control>,
    pub pieces: Pieces,
    request: Vec<u8>,
    receive: Box<[u8]>,
    /// Says that bytes of the response have arrived.
    answered: bool,
    /// Says that there has been a connection.
    connected: bool,
    method: &'static str,
    pub text: Vec<u8>,
    pub etag: Vec<u8>,
    /// This is the status of the last response.
    pub status: u16,
    /// This is the Content-Length, if there was one.
    pub length: Option<u64>,
    pub content_range: Vec<u8>,
}

impl Line {
    pub fn new(endpoint: Endpoint, control: Rc<Control>) -> Self {
        Self {
            endpoint,
            wire: None,
            control,
            pieces: Pieces::default(),
            request: Vec::new(),
            receive: vec![0; RECEIVE_BYTES].into(),
            answered: false,
            connected: false,
            method: "",
            text: Vec::new(),
            etag: Vec::new(),
            status: 0,
            length: None,
            content_range: Vec::new(),
        }
    }

    /// Renders the head of the next request from [`Line::pieces`].
    pub fn render(&mut self, signer: &RefCell<Signer>, method: &'static str, body_bytes: Option<u64>) {
        self.method = method;
        let source = &self.pieces.copy_source;
        let ask = Ask {
            method,
            path: &self.pieces.path,
            query: &self.pieces.query,
            copy_source: (!source.is_empty()).then_some(source),
            body_bytes,
            range: self.pieces.range,
        };
        signer.borrow_mut().render(&ask, &mut self.request);
    }

    /// Connects if there is no connection.
    ///
    /// # Errors
    /// Fails when the server cannot be reached, or when the TLS handshake fails.
    pub async fn connect(&mut self) -> Result<(), Failure> {
        if self.wire.is_some() {
            return Ok(());
        }
        if self.control.ending().is_some() {
            return Err(Failure::Closed);
        }
        if std::mem::replace(&mut self.connected, true) {
            self.control.again.set(self.control.again.get() + 1);
        }
        let dialled = dial(&self.endpoint.address)?;
        *self.control.stream.borrow_mut() = Some(dialled.try_clone()?);
        let stream = TcpStream::from_std(dialled.try_clone()?)?;
        stream.writable(false).await?;
        if self.control.ending().is_some() {
            return Err(Failure::Closed);
        }
        if let Some(error) = dialled.take_error()? {
            return Err(error.into());
        }
        // The ring waits only on sockets that are not non-blocking.
        dialled.set_nonblocking(false)?;
        dialled.set_nodelay(true)?;
        self.wire = Some(match &self.endpoint.tls {
            None => Wire::Plain(stream),
            Some(tls) => Wire::Tls(Box::new(TlsStream::connect(stream, tls).await?)),
        });
        Ok(())
    }

    /// Closes an idle connection.
    pub async fn close(&mut self) {
        if let Some(Wire::Tls(stream)) = self.wire.take() {
            stream.close().await;
        }
        self.control.hang_up();
    }

    /// Sends the rendered request, reads its response, and returns the length of the body. `buffer`
    /// is the slot's.
    ///
    /// # Errors
    /// Fails when the response is incomplete, or when its status is not 2xx.
    pub async fn exchange(&mut self, call: Call, buffer: &mut Box<[u8]>) -> Result<u64, Failure> {
        let kept = self.wire.is_some();
        let outcome = match self.try_once(call, buffer).await {
            Err(Failure::Closed | Failure::Io(_))
                if kept && call.repeatable && !self.answered && self.control.ending().is_none() =>
            {
                self.try_once(call, buffer).await
            }
            outcome => outcome,
        };
        outcome.map_err(|failure| self.at(failure))
    }

    /// Adds the last request to a failure.
    pub fn at(&self, failure: Failure) -> Failure {
        failure.at(self.method, &self.pieces.path)
    }

    async fn try_once(&mut self, call: Call, buffer: &mut Box<[u8]>) -> Result<u64, Failure> {
        self.answered = false;
        self.connect().await?;
        let Some(mut wire) = self.wire.take() else { return Err(Failure::Closed) };
        // A server that refuses a request early may close the connection before it has read the
        // body; its response counts nevertheless.
        let sent = self.send(&mut wire, call, buffer).await;
        let (head, body_bytes, clean) = match (self.receive(&mut wire, call, buffer).await, sent) {
            (Ok(received), Ok(())) => received,
            (Ok((head, bytes, _)), Err(_)) => (head, bytes, false),
            (Err(_), Err(failure)) | (Err(failure), Ok(())) => return Err(failure),
        };
        if clean && !head.closes {
            self.wire = Some(wire);
        }
        match head.status {
            200..=299 => Ok(body_bytes),
            status => Err(Failure::refused(status, &self.text)),
        }
    }

    async fn send(&mut self, wire: &mut Wire, call: Call, buffer: &mut Box<[u8]>) -> Result<(), Failure> {
        let (start, end) = call.upload.unwrap_or((0, 0));
        let head_bytes = self.request.len();
        let joined = end - start <= JOINED_BYTES_MAX;
        if joined {
            self.request.extend_from_slice(&buffer[start..end]);
        }
        let sent = wire.write(&mut self.request).await;
        // The head is restored, in case the request has to be repeated.
        self.request.truncate(head_bytes);
        sent?;
        if !joined {
            wire.write_part(buffer, start..end).await?;
        }
        Ok(())
    }

    /// Receives a response. Returns the head, the bytes of the body, and whether the response ended
    /// where it should.
    async fn receive(
        &mut self,
        wire: &mut Wire,
        call: Call,
        buffer: &mut Box<[u8]>,
    ) -> Result<(Head, u64, bool), Failure> {
        self.text.clear();
        let (head, filled) = self.receive_head(wire).await?;
        self.etag.clear();
        self.etag.extend_from_slice(&self.receive[head.etag.clone()]);
        self.content_range.clear();
        self.content_range.extend_from_slice(&self.receive[head.content_range.clone()]);
        self.status = head.status;
        self.length = if let Framing::Length(length) = head.framing { Some(length) } else { None };
        if let (200..=299, Some(bytes)) = (head.status, self.length)
            && bytes > call.body_bytes_max
            && !call.head_only
        {
            return Err(Failure::OtherLength { bytes, expected: call.body_bytes_max });
        }
        let sink = if head.status < 300 { call.sink } else { Sink::Text };
        let mut body = Body { sink, stored: 0, bytes: 0 };
        let have = head.end..filled;
        let clean = match head.framing {
            _ if call.head_only => have.is_empty(),
            Framing::Length(length) => self.receive_length(wire, length, have, &mut body, buffer).await?,
            Framing::Chunked => self.receive_chunks(wire, have, &mut body, buffer).await?,
            Framing::ToEnd => {
                body.store(&self.receive[have], buffer, &mut self.text);
                loop {
                    let count = self.receive_some(wire, 0).await?;
                    if count == 0 {
                        break false;
                    }
                    body.store(&self.receive[..count], buffer, &mut self.text);
                }
            }
        };
        Ok((head, body.bytes, clean))
    }

    async fn receive_head(&mut self, wire: &mut Wire) -> Result<(Head, usize), Failure> {
        let mut filled = 0;
        loop {
            match head::parse(&self.receive[..filled])? {
                // This is an interim response.
                Some(head) if head.status < 200 => {
                    self.receive.copy_within(head.end..filled, 0);
                    filled -= head.end;
                }
                Some(head) => return Ok((head, filled)),
                None => match self.receive_some(wire, filled).await? {
                    0 => return Err(Failure::Closed),
                    count => filled += count,
                },
            }
        }
    }

    /// Receives into the buffer after the first `filled` bytes; returns 0 when the server has
    /// closed.
    async fn receive_some(&mut self, wire: &mut Wire, filled: usize) -> Result<usize, Failure> {
        let part = filled..self.receive.len();
        let count = wire.read(&mut self.receive, part).await?;
        self.answered |= count > 0;
        Ok(count)
    }

    async fn receive_length(
        &mut self,
        wire: &mut Wire,
        length: u64,
        have: std::ops::Range<usize>,
        body: &mut Body,
        buffer: &mut Box<[u8]>,
    ) -> Result<bool, Failure> {
        let own = have.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        body.store(&self.receive[have.start..have.start + own], buffer, &mut self.text);
        while body.bytes < length {
            let left = usize::try_from(length - body.bytes).unwrap_or(usize::MAX);
            let room = buffer.len() - body.stored.min(buffer.len());
            if body.sink == Sink::Buffer && room > 0 {
                let range = body.stored..body.stored + room.min(left);
                match wire.read(buffer, range).await? {
                    0 => return Err(Failure::Closed),
                    count => (body.stored, body.bytes) = (body.stored + count, body.bytes + count as u64),
                }
                continue;
            }
            match self.receive_some(wire, 0).await? {
                0 => return Err(Failure::Closed),
                // More than the length has arrived: the rest belongs to none of our requests.
                count if count > left => return Ok(false),
                count => body.store(&self.receive[..count], buffer, &mut self.text),
            }
        }
        Ok(own == have.len())
    }

    async fn receive_chunks(
        &mut self,
        wire: &mut Wire,
        mut have: std::ops::Range<usize>,
        body: &mut Body,
        buffer: &mut Box<[u8]>,
    ) -> Result<bool, Failure> {
        let mut decoder = Decoder::default();
        loop {
            let mut store = |data: &[u8]| body.store(data, buffer, &mut self.text);
            let used = decoder.take(&self.receive[have.clone()], &mut store)?;
            if decoder.is_done() {
                return Ok(used == have.len());
            }
            match self.receive_some(wire, 0).await? {
                0 => return Err(Failure::Closed),
                count => have = 0..count,
            }
        }
    }
}

/// Stores the body of a response while it arrives.
struct Body {
    sink: Sink,
    /// Counts the bytes in the buffer.
    stored: usize,
    /// Counts all bytes.
    bytes: u64,
}

impl Body {
    fn store(&mut self, data: &[u8], buffer: &mut [u8], text: &mut Vec<u8>) {
        self.bytes += data.len() as u64;
        match self.sink {
            Sink::Buffer => {
                let count = data.len().min(buffer.len() - self.stored);
                buffer[self.stored..self.stored + count].copy_from_slice(&data[..count]);
                self.stored += count;
            }
            Sink::Text => text.extend_from_slice(&data[..data.len().min(TEXT_BYTES_MAX - text.len())]),
        }
    }
}

/// Starts a connection.
fn dial(address: &SocketAddr) -> io::Result<std::net::TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket.into()),
        Err(error) => Err(error.into()),
    }
}
