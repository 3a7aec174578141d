//! Bodies are decoded and verified here while they stream.
//!
//! Invariant: one piece is held back until the next one comes, so the last bytes of a signed body
//! are handed on only after everything that is signed has been verified. A handler that stores
//! nothing before the end of the stream thus never stores what does not match.

mod chunked;
mod encoding;

pub use self::encoding::{PayloadEncoding, decode_headers};

use self::chunked::Decoder;
use super::hash::Sha256;
use super::signature::ChunkChain;
use super::{AuthError, Trailers};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

/// The first failure of a request's body. Whatever a handler makes of it, this is what the client
/// is told.
#[derive(Clone, Debug, Default)]
pub struct BodyFailure(Arc<OnceLock<AuthError>>);

impl BodyFailure {
    /// Returns the failure, if there was one.
    pub fn get(&self) -> Option<&AuthError> {
        self.0.get()
    }

    /// Notes a failure. Only the first one counts.
    pub fn set(&self, error: AuthError) {
        // The first failure is the cause of later ones.
        let _ = self.0.set(error);
    }
}

enum Check {
    Length,
    Hash { running: Sha256, expected: [u8; 32] },
    Chunks(Box<Decoder>),
}

/// A body as the handlers see it: the decoded bytes, exactly as many as were announced, or an
/// error.
pub struct VerifiedBody<B> {
    inner: B,
    check: Check,
    /// The bytes that came and are not decoded yet.
    input: Bytes,
    held: Bytes,
    announced: u64,
    got: u64,
    ended: bool,
    trailers: Trailers,
    failure: BodyFailure,
}

impl<B> VerifiedBody<B> {
    /// Wraps `inner`, which has `announced` bytes once it is decoded. `chain` verifies signed
    /// chunks; fails with AccessDenied if `form` has such chunks and there is no chain.
    pub fn new(
        inner: B,
        form: PayloadEncoding,
        chain: Option<ChunkChain>,
        announced: u64,
        trailers: Trailers,
        failure: BodyFailure,
    ) -> Result<Self, AuthError> {
        let check = match (form, chain) {
            (PayloadEncoding::Plain, _) => Check::Length,
            (PayloadEncoding::Hashed(expected), _) => Check::Hash { running: Sha256::new(), expected },
            (PayloadEncoding::Chunked { signed: true, .. }, None) => return Err(AuthError::AccessDenied),
            (PayloadEncoding::Chunked { signed, with_trailers }, chain) => {
                Check::Chunks(Box::new(Decoder::new(chain.filter(|_| signed), with_trailers)))
            }
        };
        let (input, held) = (Bytes::new(), Bytes::new());
        Ok(Self { inner, check, input, held, announced, got: 0, ended: false, trailers, failure })
    }

    /// Returns the next decoded piece of what has come, if there is one.
    fn decode(&mut self) -> Result<Option<Bytes>, AuthError> {
        let piece = match &mut self.check {
            Check::Chunks(decoder) => decoder.next(&mut self.input)?,
            Check::Hash { running, .. } => {
                running.update(&self.input);
                Some(std::mem::take(&mut self.input)).filter(|piece| !piece.is_empty())
            }
            Check::Length => Some(std::mem::take(&mut self.input)).filter(|piece| !piece.is_empty()),
        };
        self.got += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        if self.got > self.announced {
            return Err(AuthError::IncompleteBody { announced: self.announced, got: self.got });
        }
        Ok(piece)
    }

    fn at_end(&mut self) -> Result<(), AuthError> {
        let incomplete = AuthError::IncompleteBody { announced: self.announced, got: self.got };
        let complete = self.got == self.announced;
        match &mut self.check {
            _ if !complete => Err(incomplete),
            Check::Length => Ok(()),
            Check::Hash { running, expected } => {
                let matches = std::mem::take(running).finish() == *expected;
                matches.then_some(()).ok_or(AuthError::ContentSha256Mismatch)
            }
            Check::Chunks(decoder) if decoder.finished() => {
                self.trailers.fill(decoder.take_trailers());
                Ok(())
            }
            Check::Chunks(_) => Err(AuthError::MalformedChunk("it has no end".to_owned())),
        }
    }
}

impl<B> VerifiedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + 'static,
{
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, AuthError>> {
        loop {
            while let Some(piece) = self.decode()? {
                let before = std::mem::replace(&mut self.held, piece);
                if !before.is_empty() {
                    return Poll::Ready(Ok(Some(before)));
                }
            }
            match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => self.input = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Err(describe(&error))),
                None => {
                    self.at_end()?;
                    self.ended = true;
                    let last = std::mem::take(&mut self.held);
                    return Poll::Ready(Ok(Some(last).filter(|last| !last.is_empty())));
                }
            }
        }
    }
}

fn describe(error: &(dyn std::error::Error + 'static)) -> AuthError {
    match error.downcast_ref::<AuthError>() {
        Some(error) => error.clone(),
        None => AuthError::BodyFailed(error.to_string()),
    }
}

impl<B> Body for VerifiedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + 'static,
{
    type Data = Bytes;
    type Error = AuthError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AuthError>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        match ready!(this.poll_piece(context)) {
            Ok(piece) => Poll::Ready(piece.map(|piece| Ok(Frame::data(piece)))),
            Err(error) => {
                this.ended = true;
                this.held = Bytes::new();
                this.failure.set(error.clone());
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    /// Returns how many bytes are still to be handed on.
    fn size_hint(&self) -> SizeHint {
        let handed_on = self.got - self.held.len() as u64;
        SizeHint::with_exact(self.announced.saturating_sub(handed_on))
    }
}

/// The data of a body, its trailers, and whether its end has come.
pub(crate) type Decoded = (Vec<u8>, Vec<(String, String)>, bool);

/// Decodes an aws-chunked body that comes in pieces of `size` bytes. It is for tests and fuzzing.
pub(crate) fn decode_in_pieces(
    body: &[u8],
    size: usize,
    chain: Option<ChunkChain>,
    with_trailers: bool,
) -> Result<Decoded, AuthError> {
    let mut decoder = Decoder::new(chain, with_trailers);
    let mut bytes = Vec::new();
    for piece in body.chunks(size) {
        let mut piece = Bytes::copy_from_slice(piece);
        while let Some(data) = decoder.next(&mut piece)? {
            bytes.extend_from_slice(&data);
        }
    }
    Ok((bytes, decoder.take_trailers(), decoder.finished()))
}

#[cfg(test)]
mod tests;
