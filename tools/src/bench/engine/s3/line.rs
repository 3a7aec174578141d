//! One connection with one request at a time: sends what was rendered, takes the answer apart.
//!
//! Invariants: buffers belong to the line or to its slot and are used for every request; a connection is used again
//! only after an answer that ended where it said it would. A request is repeated only when a connection that was kept
//! open turns out to be closed before the first byte of the answer, as a server may close it at any time.

use super::chunked::Decoder;
use super::failure::Failure;
use super::head::{self, Framing, Head};
use super::sign::{Ask, Signer};
use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpStream;
use std::cell::RefCell;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

const RECEIVE_BYTES: usize = 64 << 10;
/// A body up to this size travels in one piece with its head.
const JOINED_BYTES_MAX: usize = 64 << 10;
/// What is kept of a body that is read as text.
const TEXT_BYTES_MAX: usize = 4 << 20;
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Where the body of an answer goes. That of a refusal is always read as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// Into the slot's buffer, as far as it fits.
    Buffer,
    /// Into [`Line::text`].
    Text,
}

/// One exchange, beyond the head that was rendered.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// From the buffer, first and one past the last byte.
    pub upload: Option<(usize, usize)>,
    pub sink: Sink,
    /// The answer has no body, whatever its head says.
    pub head_only: bool,
    pub repeatable: bool,
}

impl Call {
    pub const PLAIN: Self = Self { upload: None, sink: Sink::Text, head_only: false, repeatable: true };
}

/// The pieces of a request, to be filled before [`Line::exchange`].
#[derive(Debug, Default)]
pub struct Pieces {
    pub path: Vec<u8>,
    pub query: Vec<u8>,
    pub copy_source: Vec<u8>,
}

impl Pieces {
    pub fn clear(&mut self) {
        self.path.clear();
        self.query.clear();
        self.copy_source.clear();
    }
}

/// What can end a connection from outside of its task.
pub type Control = Rc<RefCell<Option<std::net::TcpStream>>>;

/// See the module.
pub struct Line {
    address: SocketAddr,
    stream: Option<TcpStream>,
    control: Control,
    pub pieces: Pieces,
    request: Vec<u8>,
    receive: Box<[u8]>,
    /// Bytes of the answer came.
    answered: bool,
    pub text: Vec<u8>,
    pub etag: Vec<u8>,
}

impl Line {
    pub fn new(address: SocketAddr, control: Control) -> Self {
        Self {
            address,
            stream: None,
            control,
            pieces: Pieces::default(),
            request: Vec::new(),
            receive: vec![0; RECEIVE_BYTES].into(),
            answered: false,
            text: Vec::new(),
            etag: Vec::new(),
        }
    }

    /// Renders the head of the next request from [`Line::pieces`].
    pub fn render(&mut self, signer: &RefCell<Signer>, method: &'static str, body_bytes: Option<u64>) {
        let source = &self.pieces.copy_source;
        let ask = Ask {
            method,
            path: &self.pieces.path,
            query: &self.pieces.query,
            copy_source: (!source.is_empty()).then_some(source),
            body_bytes,
        };
        signer.borrow_mut().render(&ask, &mut self.request);
    }

    /// Connects if there is no connection.
    ///
    /// # Errors
    /// When the server can not be reached.
    pub fn connect(&mut self) -> Result<(), Failure> {
        if self.stream.is_some() {
            return Ok(());
        }
        // Blocks this thread: connections are made before the clock starts, and after a server closed one.
        let stream = std::net::TcpStream::connect_timeout(&self.address, CONNECT_LIMIT)?;
        stream.set_nodelay(true)?;
        *self.control.borrow_mut() = Some(stream.try_clone()?);
        self.stream = Some(TcpStream::from_std(stream)?);
        Ok(())
    }

    /// Sends the rendered request and reads its answer; bytes of its body. `buffer` is the slot's.
    ///
    /// # Errors
    /// When there is no whole answer, or its status is not 2xx.
    pub async fn exchange(&mut self, call: Call, buffer: &mut Box<[u8]>) -> Result<u64, Failure> {
        let kept = self.stream.is_some();
        let outcome = self.try_once(call, buffer).await;
        match outcome {
            Err(Failure::Closed | Failure::Io(_)) if kept && call.repeatable && !self.answered => {
                self.try_once(call, buffer).await
            }
            outcome => outcome,
        }
    }

    async fn try_once(&mut self, call: Call, buffer: &mut Box<[u8]>) -> Result<u64, Failure> {
        self.answered = false;
        self.connect()?;
        let Some(mut stream) = self.stream.take() else { return Err(Failure::Closed) };
        // A server that refuses early may close before it has read the body: its answer counts all the same.
        let sent = self.send(&mut stream, call, buffer).await;
        let (head, body_bytes, clean) = match (self.receive(&mut stream, call, buffer).await, sent) {
            (Ok(received), Ok(())) => received,
            (Ok((head, bytes, _)), Err(_)) => (head, bytes, false),
            (Err(_), Err(failure)) | (Err(failure), Ok(())) => return Err(failure),
        };
        if clean && !head.closes {
            self.stream = Some(stream);
        }
        match head.status {
            200..=299 => Ok(body_bytes),
            status => Err(Failure::refused(status, &self.text)),
        }
    }

    async fn send(
        &mut self,
        stream: &mut TcpStream,
        call: Call,
        buffer: &mut Box<[u8]>,
    ) -> Result<(), Failure> {
        let (start, end) = call.upload.unwrap_or((0, 0));
        let head_bytes = self.request.len();
        let joined = end - start <= JOINED_BYTES_MAX;
        if joined {
            self.request.extend_from_slice(&buffer[start..end]);
        }
        let (sent, request) = stream.write_all(std::mem::take(&mut self.request)).await;
        self.request = request;
        // As it was, in case it has to be repeated.
        self.request.truncate(head_bytes);
        sent?;
        if !joined {
            let (sent, slice) = stream.write_all(std::mem::take(buffer).slice(start..end)).await;
            *buffer = slice.into_inner();
            sent?;
        }
        Ok(())
    }

    /// Head, bytes of the body, and whether the answer ended where it should.
    async fn receive(
        &mut self,
        stream: &mut TcpStream,
        call: Call,
        buffer: &mut Box<[u8]>,
    ) -> Result<(Head, u64, bool), Failure> {
        self.text.clear();
        let (head, filled) = self.receive_head(stream).await?;
        self.etag.clear();
        self.etag.extend_from_slice(&self.receive[head.etag.clone()]);
        let sink = if head.status < 300 { call.sink } else { Sink::Text };
        let mut body = Body { sink, stored: 0, bytes: 0 };
        let have = head.end..filled;
        let clean = match head.framing {
            _ if call.head_only => have.is_empty(),
            Framing::Length(length) => self.receive_length(stream, length, have, &mut body, buffer).await?,
            Framing::Chunked => self.receive_chunks(stream, have, &mut body, buffer).await?,
            Framing::ToEnd => {
                body.store(&self.receive[have], buffer, &mut self.text);
                loop {
                    let count = self.receive_some(stream, 0).await?;
                    if count == 0 {
                        break false;
                    }
                    body.store(&self.receive[..count], buffer, &mut self.text);
                }
            }
        };
        Ok((head, body.bytes, clean))
    }

    async fn receive_head(&mut self, stream: &mut TcpStream) -> Result<(Head, usize), Failure> {
        let mut filled = 0;
        loop {
            match head::parse(&self.receive[..filled])? {
                // Interim answers.
                Some(head) if head.status < 200 => {
                    self.receive.copy_within(head.end..filled, 0);
                    filled -= head.end;
                }
                Some(head) => return Ok((head, filled)),
                None => match self.receive_some(stream, filled).await? {
                    0 => return Err(Failure::Closed),
                    count => filled += count,
                },
            }
        }
    }

    /// Receives behind the first `filled` bytes; 0: the other side has closed.
    async fn receive_some(&mut self, stream: &mut TcpStream, filled: usize) -> Result<usize, Failure> {
        let (received, slice) = stream.read(std::mem::take(&mut self.receive).slice_mut(filled..)).await;
        self.receive = slice.into_inner();
        let count = received?;
        self.answered |= count > 0;
        Ok(count)
    }

    async fn receive_length(
        &mut self,
        stream: &mut TcpStream,
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
                let (received, slice) = stream.read(std::mem::take(buffer).slice_mut(range)).await;
                *buffer = slice.into_inner();
                match received? {
                    0 => return Err(Failure::Closed),
                    count => (body.stored, body.bytes) = (body.stored + count, body.bytes + count as u64),
                }
                continue;
            }
            match self.receive_some(stream, 0).await? {
                0 => return Err(Failure::Closed),
                // More than the length: what follows belongs to no request of ours.
                count if count > left => return Ok(false),
                count => body.store(&self.receive[..count], buffer, &mut self.text),
            }
        }
        Ok(own == have.len())
    }

    async fn receive_chunks(
        &mut self,
        stream: &mut TcpStream,
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
            match self.receive_some(stream, 0).await? {
                0 => return Err(Failure::Closed),
                count => have = 0..count,
            }
        }
    }
}

/// The body of an answer on its way.
struct Body {
    sink: Sink,
    /// In the buffer.
    stored: usize,
    /// In all.
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

/// Ends the connection that `control` is of: its task sees the end of the stream.
pub fn hang_up(control: &Control) {
    if let Some(stream) = control.borrow().as_ref() {
        // Fails only when it is over already.
        let _ = stream.shutdown(Shutdown::Both);
    }
}
