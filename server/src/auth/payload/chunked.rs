//! The decoder of aws-chunked bodies, signed and unsigned, with and without trailers. It does no
//! I/O.
//!
//! ```text
//! signed    40;chunk-signature=<64 hex>\r\n<64 bytes>\r\n …
//!           0;chunk-signature=<64 hex>\r\n[trailers]\r\n
//! unsigned  40\r\n<64 bytes>\r\n … 0\r\n[trailers]\r\n
//! trailers  name:value\r\n … [x-amz-trailer-signature:<64 hex>\r\n]
//! ```
//!
//! Invariants:
//! - Memory is bounded: a line, and the trailers together, have limits, and data is sliced from the
//!   input, never collected.
//! - A signed chunk is checked when its last byte has come.
//! - `finished` is only true once everything that is signed was verified.

use crate::auth::AuthError;
use crate::auth::hash::Sha256;
use crate::auth::signature::ChunkChain;
use bytes::{Buf, Bytes};

const LINE_BYTES_MAX: usize = 1024;
const TRAILERS_BYTES_MAX: usize = 8 * 1024;
const SIGNATURE_TRAILER: &str = "x-amz-trailer-signature";

enum State {
    ChunkHeader,
    Data { left: u64 },
    DataEnd,
    Trailers,
    Finished,
}

/// Decodes one aws-chunked body, which comes in pieces of any size.
pub struct Decoder {
    state: State,
    /// Verifies the chunks' signatures. None if they carry none.
    chain: Option<ChunkChain>,
    /// Tells whether trailers may follow the last chunk.
    with_trailers: bool,
    /// The part of a line that has come so far.
    line: Vec<u8>,
    chunk_hash: Sha256,
    chunk_signature: Option<[u8; 64]>,
    trailers: Vec<(String, String)>,
    trailers_bytes: usize,
    trailers_hash: Sha256,
    trailers_signature: Option<String>,
}

impl Decoder {
    /// Makes a decoder. `chain` verifies signed chunks; None says that chunks carry no signatures.
    pub fn new(chain: Option<ChunkChain>, with_trailers: bool) -> Self {
        Self {
            state: State::ChunkHeader,
            chain,
            with_trailers,
            line: Vec::new(),
            chunk_hash: Sha256::new(),
            chunk_signature: None,
            trailers: Vec::new(),
            trailers_bytes: 0,
            trailers_hash: Sha256::new(),
            trailers_signature: None,
        }
    }

    /// Returns whether the body has ended and everything that is signed was verified.
    pub fn finished(&self) -> bool {
        matches!(self.state, State::Finished)
    }

    /// Returns the trailers, with names in lower case. It is for after the end of the body.
    pub fn take_trailers(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.trailers)
    }

    /// Consumes `input` up to and including the next piece of data, and returns that. Returns None
    /// if `input` is used up or the body has ended; fails if the body is malformed or a signature
    /// is wrong.
    pub fn next(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, AuthError> {
        while !input.is_empty() {
            match self.state {
                State::ChunkHeader => {
                    if self.read_line(input)? {
                        self.on_chunk_header()?;
                    }
                }
                State::Data { left } => return self.on_data(input, left).map(Some),
                State::DataEnd => {
                    if self.read_line(input)? {
                        self.on_data_end()?;
                    }
                }
                State::Trailers => {
                    if self.read_line(input)? {
                        self.on_trailer_line()?;
                    }
                }
                State::Finished => return Err(malformed("there is data after its end")),
            }
        }
        Ok(None)
    }

    /// Reads into `self.line`. Returns true when that holds a whole line, without its end.
    fn read_line(&mut self, input: &mut Bytes) -> Result<bool, AuthError> {
        let end = input.iter().position(|&byte| byte == b'\n');
        let taken = end.map_or(input.len(), |end| end + 1);
        if self.line.len() + taken > LINE_BYTES_MAX {
            return Err(malformed("a line is longer than 1024 bytes"));
        }
        self.line.extend_from_slice(&input[..taken]);
        input.advance(taken);
        if end.is_none() {
            return Ok(false);
        }
        self.line.pop();
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        Ok(true)
    }

    fn on_chunk_header(&mut self) -> Result<(), AuthError> {
        let line = std::mem::take(&mut self.line);
        let text = str::from_utf8(&line).map_err(|_| malformed("a chunk header is not text"))?;
        let (size, extension) = text.split_once(';').unwrap_or((text, ""));
        let bad_size =
            || malformed(&format!("{:?} is no chunk size", size.chars().take(32).collect::<String>()));
        if size.is_empty() || size.len() > 16 || !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(bad_size());
        }
        let size = u64::from_str_radix(size, 16).map_err(|_| bad_size())?;
        if self.chain.is_some() {
            let signature = extension.trim().strip_prefix("chunk-signature=");
            let signature = signature.and_then(|signature| signature.trim().as_bytes().try_into().ok());
            self.chunk_signature = Some(
                signature.ok_or_else(|| malformed("a chunk header has no chunk-signature of 64 digits"))?,
            );
        }
        // The allocation is used again for the next line.
        self.line = line;
        self.line.clear();
        if size > 0 {
            self.state = State::Data { left: size };
            return Ok(());
        }
        self.verify_chunk()?;
        self.state = State::Trailers;
        Ok(())
    }

    fn on_data(&mut self, input: &mut Bytes, left: u64) -> Result<Bytes, AuthError> {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        let data = input.split_to(taken);
        if self.chain.is_some() {
            self.chunk_hash.update(&data);
        }
        let left = left - taken as u64;
        self.state = if left > 0 { State::Data { left } } else { State::DataEnd };
        if left == 0 {
            self.verify_chunk()?;
        }
        Ok(data)
    }

    fn verify_chunk(&mut self) -> Result<(), AuthError> {
        let Some(chain) = &mut self.chain else { return Ok(()) };
        let hash = std::mem::take(&mut self.chunk_hash).finish();
        let signature = self.chunk_signature.take().unwrap_or([0; 64]);
        chain.verify_chunk(&hash, &signature)
    }

    fn on_data_end(&mut self) -> Result<(), AuthError> {
        if !self.line.is_empty() {
            return Err(malformed("a chunk is longer than its header says"));
        }
        self.state = State::ChunkHeader;
        Ok(())
    }

    fn on_trailer_line(&mut self) -> Result<(), AuthError> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return self.on_end();
        }
        self.trailers_bytes += line.len();
        if !self.with_trailers || self.trailers_bytes > TRAILERS_BYTES_MAX {
            return Err(malformed("it has trailers that were not announced, or more than 8 KiB of them"));
        }
        let text = str::from_utf8(&line).map_err(|_| malformed("a trailer is not text"))?;
        let (name, value) = text.split_once(':').ok_or_else(|| malformed("a trailer has no colon"))?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        if name == SIGNATURE_TRAILER {
            return match self.trailers_signature.replace(value.to_owned()) {
                None => Ok(()),
                Some(_) => Err(malformed("it has two signatures of its trailers")),
            };
        }
        for piece in [name.as_str(), ":", value, "\n"] {
            self.trailers_hash.update(piece.as_bytes());
        }
        self.trailers.push((name, value.to_owned()));
        Ok(())
    }

    fn on_end(&mut self) -> Result<(), AuthError> {
        if let (Some(chain), true) = (&mut self.chain, self.with_trailers) {
            let hash = std::mem::take(&mut self.trailers_hash).finish();
            let signature = self.trailers_signature.as_deref().unwrap_or("");
            chain.verify_trailers(&hash, signature.as_bytes())?;
        }
        self.state = State::Finished;
        Ok(())
    }
}

fn malformed(reason: &str) -> AuthError {
    AuthError::MalformedChunk(reason.to_owned())
}
