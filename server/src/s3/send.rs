//! A body on its way out: the engine's verified chunks, handed to HTTP without a copy.
//!
//! Invariants: the first chunk is read before the head of the answer is written, so that damage there is
//! a clean 500; damage further on ends the stream with an error, which closes the connection short of
//! the announced length. Chunks never leave their core's thread ([`SendWrapper`] would panic).

use super::error::EngineResult;
use bytes::Bytes;
use futures_util::Stream;
use ringbolt_engine::node::{Chunk, ObjectReader};
use s3s::dto::StreamingBlob;
use s3s::stream::{ByteStream, RemainingLength};
use s3s::{Body, S3Result, StdError, s3_error};
use send_wrapper::SendWrapper;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A chunk as the owner of [`Bytes`].
struct Owned(SendWrapper<Chunk>);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

fn to_bytes(chunk: Chunk) -> Bytes {
    Bytes::from_owner(Owned(SendWrapper::new(chunk)))
}

/// The `length` bytes that `reader` was set to, as a body of exactly that length.
pub async fn body_of(mut reader: ObjectReader, length: u64) -> S3Result<Body> {
    if length == 0 {
        return Ok(Body::empty());
    }
    let Some(first) = reader.next().await.s3()? else {
        tracing::error!(length, "the engine gave no bytes of an object that has some");
        return Err(s3_error!(InternalError, "The stored data could not be read; see the server's log"));
    };
    let first = to_bytes(first);
    if first.len() as u64 == length {
        // One piece: head and body leave in one write.
        return Ok(Body::from(first));
    }
    let remaining = length - first.len() as u64;
    let outgoing = Local { first: Some(first), remaining, next: step(reader) };
    Ok(StreamingBlob::new(Outgoing(SendWrapper::new(outgoing))).into())
}

type Step = Pin<Box<dyn Future<Output = (ObjectReader, ringbolt_engine::Result<Option<Chunk>>)>>>;

fn step(mut reader: ObjectReader) -> Step {
    Box::pin(async move {
        let result = reader.next().await;
        (reader, result)
    })
}

struct Local {
    first: Option<Bytes>,
    /// Bytes after `first`.
    remaining: u64,
    next: Step,
}

struct Outgoing(SendWrapper<Local>);

impl Local {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, StdError>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        let (reader, result) = ready!(self.next.as_mut().poll(context));
        let ended = || StdError::from("the object ended before its length");
        let piece = match result {
            Ok(Some(chunk)) => to_bytes(chunk),
            Ok(None) => return self.fail(ended()),
            Err(error) => {
                tracing::error!(%error, "reading an object failed in the middle of its body");
                return self.fail(Box::new(error));
            }
        };
        match self.remaining.checked_sub(piece.len() as u64) {
            Some(remaining) => self.remaining = remaining,
            None => return self.fail(StdError::from("the object ran over its length")),
        }
        if self.remaining > 0 {
            self.next = step(reader);
        }
        Poll::Ready(Some(Ok(piece)))
    }

    /// The finished future is not polled again.
    fn fail(&mut self, error: StdError) -> Poll<Option<Result<Bytes, StdError>>> {
        self.remaining = 0;
        Poll::Ready(Some(Err(error)))
    }
}

impl Stream for Outgoing {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll(context)
    }
}

impl ByteStream for Outgoing {
    fn remaining_length(&self) -> RemainingLength {
        let first = self.0.first.as_ref().map_or(0, Bytes::len) as u64;
        match usize::try_from(first + self.0.remaining) {
            Ok(length) => RemainingLength::new_exact(length),
            Err(_) => RemainingLength::unknown(),
        }
    }
}
