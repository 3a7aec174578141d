//! The bodies of objects and parts, on their way into the engine and out of it.
//!
//! Invariants:
//! - [`receive`] returns Ok only when length, Content-MD5 and checksum are what the client
//!   announced. The caller commits the writer after that and only then; a dropped writer leaves
//!   nothing.
//! - [`body_of`] reads the first chunk before the head of the answer is written, so that damage
//!   there is a clean 500. Damage further on ends the stream with an error, which closes the
//!   connection short of the announced length.
//! - Chunks never leave their core's thread: [`SendWrapper`] panics if one does.

use super::access::Caller;
use super::declared::DeclaredChecksum;
use super::error::{EngineResult, from_body};
use crate::auth::Trailers;
use crate::auth::hash::Md5;
use crate::checksum::{Algorithm, Hasher, encode_md5};
use crate::next_piece;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::HeaderMap;
use ringbolt_engine::node::{Chunk, ObjectReader, ObjectWriter};
use ringbolt_engine::types::Etag;
use s3s::dto::StreamingBlob;
use s3s::stream::{ByteStream, RemainingLength};
use s3s::{Body, S3Result, StdError, s3_error};
use send_wrapper::SendWrapper;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The most bytes that a single PUT or part may have.
pub const BODY_BYTES_MAX: u64 = 5 << 30;

/// What the client said of a body before it sent it.
#[derive(Debug)]
pub struct Announced {
    /// The length in bytes, after all transfer and chunk encodings.
    pub length: u64,
    /// Whether the body may be shorter: nobody knows how long the file of a form is before its end.
    shorter: bool,
    md5: Option<[u8; 16]>,
    declared: DeclaredChecksum,
    /// The checksum to compute.
    algorithm: Option<Algorithm>,
}

/// What is known of a body once all of it was received and verified.
pub struct Received {
    /// The MD5 of the body, as its ETag.
    pub etag: Etag,
    /// The checksum that was asked for, in base64.
    pub checksum: Option<(Algorithm, String)>,
}

impl Announced {
    /// Reads the announcement from a request's headers. `fallback` is the checksum to compute when
    /// the request declares none (that of its upload). Fails if the length is missing or too large,
    /// or if a digest is malformed.
    pub fn new(headers: &HeaderMap, caller: &Caller, fallback: Option<Algorithm>) -> S3Result<Self> {
        let Some(length) = caller.lenient.body_length else {
            return Err(s3_error!(MissingContentLength, "You must provide the Content-Length HTTP header."));
        };
        if length > BODY_BYTES_MAX {
            return Err(s3_error!(
                EntityTooLarge,
                "Your proposed upload has {length} bytes; the most for one request is {BODY_BYTES_MAX}"
            ));
        }
        let md5 = caller.lenient.content_md5.as_deref().map(parse_md5).transpose()?;
        let declared = DeclaredChecksum::of(headers)?;
        let algorithm = declared.algorithm().or(fallback);
        Ok(Self { length, shorter: false, md5, declared, algorithm })
    }

    /// Takes a body of the announced length or a shorter one.
    pub fn at_most(self) -> Self {
        Self { shorter: true, ..self }
    }

    /// Returns the algorithm of the checksum to compute.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm
    }

    /// Compares what was announced with what came. `checksum` is in base64.
    fn verify(
        &self,
        length: u64,
        md5: [u8; 16],
        checksum: Option<&str>,
        trailers: &Trailers,
    ) -> S3Result<()> {
        if length > self.length || length < self.length && !self.shorter {
            return Err(s3_error!(
                IncompleteBody,
                "You announced a body of {} bytes and sent {length}",
                self.length
            ));
        }
        if self.md5.is_some_and(|announced| announced != md5) {
            return Err(s3_error!(
                BadDigest,
                "The Content-MD5 you specified did not match what we received."
            ));
        }
        self.declared.verify(checksum, trailers)
    }
}

/// Decodes a Content-MD5: base64 of 16 bytes.
pub fn parse_md5(text: &str) -> S3Result<[u8; 16]> {
    let decoded = BASE64.decode(text.trim()).ok();
    decoded
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| s3_error!(InvalidDigest, "The Content-MD5 you specified is not valid."))
}

/// The hashes that are computed of an object or part while its bytes pass.
pub struct Digests {
    md5: Option<Md5>,
    checksum: Option<Hasher>,
    algorithm: Option<Algorithm>,
}

/// What [`Digests`] gives at the end of the bytes.
pub struct Digested {
    /// The MD5, if it was asked for.
    pub md5: Option<[u8; 16]>,
    /// The checksum, if one was asked for, in base64.
    pub checksum: Option<(Algorithm, String)>,
}

impl Digests {
    /// Computes an MD5 if `with_md5` says so, and the checksum of `algorithm`. Where both are MD5,
    /// it is computed once.
    pub fn new(with_md5: bool, algorithm: Option<Algorithm>) -> Self {
        let apart = algorithm.filter(|algorithm| !(with_md5 && *algorithm == Algorithm::Md5));
        Self { md5: with_md5.then(Md5::new), checksum: apart.map(Hasher::new), algorithm }
    }

    fn update(&mut self, bytes: &[u8]) {
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        if let Some(checksum) = &mut self.checksum {
            checksum.update(bytes);
        }
    }

    fn finish(self) -> Digested {
        let md5 = self.md5.map(Md5::finish);
        let checksum = match (self.checksum, self.algorithm, &md5) {
            (Some(hasher), ..) => Some((hasher.algorithm(), hasher.finish())),
            (None, Some(algorithm), Some(md5)) => Some((algorithm, encode_md5(md5))),
            (None, ..) => None,
        };
        Digested { md5, checksum }
    }
}

/// Receives a whole body into `writer` and compares it with what was announced. Fails if the body
/// breaks off, is not what was announced, or can not be written.
pub async fn receive(
    body: Option<StreamingBlob>,
    writer: &mut ObjectWriter,
    announced: &Announced,
    trailers: &Trailers,
) -> S3Result<Received> {
    let mut digests = Digests::new(true, announced.algorithm);
    let mut length = 0u64;
    if let Some(mut body) = body {
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(from_body)?;
            length += piece.len() as u64;
            if length > announced.length {
                break;
            }
            digests.update(&piece);
            writer.write(&piece).await.s3()?;
        }
    }
    let Digested { md5, checksum } = digests.finish();
    let md5 = md5.unwrap_or_default();
    announced.verify(length, md5, checksum.as_ref().map(|(_, text)| text.as_str()), trailers)?;
    Ok(Received { etag: Etag { md5, parts: 0 }, checksum })
}

/// Copies all that `reader` was set to into `writer`, and hashes it on the way.
pub async fn copy(
    reader: &mut ObjectReader,
    writer: &mut ObjectWriter,
    mut digests: Digests,
) -> S3Result<Digested> {
    while let Some(chunk) = reader.next().await.s3()? {
        digests.update(chunk.as_ref());
        writer.write(chunk.as_ref()).await.s3()?;
    }
    Ok(digests.finish())
}

/// Makes a body of exactly the `length` bytes that `reader` was set to, without a copy. Fails if
/// the first chunk can not be read.
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
        // One chunk: head and body leave in one write.
        return Ok(Body::from(first));
    }
    let remaining = length - first.len() as u64;
    let is_more_ready = reader.is_more_ready();
    let outgoing = Local { first: Some(first), is_more_ready, remaining, next: step(reader) };
    Ok(StreamingBlob::new(Outgoing(SendWrapper::new(outgoing))).into())
}

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

type Step = Pin<Box<dyn Future<Output = (ObjectReader, ringbolt_engine::Result<Option<Chunk>>)>>>;

fn step(mut reader: ObjectReader) -> Step {
    Box::pin(async move {
        let result = reader.next().await;
        (reader, result)
    })
}

/// The chunks that are still to be sent. It stays on its core.
struct Local {
    first: Option<Bytes>,
    /// What comes behind `first` is there too.
    is_more_ready: bool,
    /// The number of bytes after `first`.
    remaining: u64,
    next: Step,
}

/// [`Local`] as the stream that HTTP sends.
struct Outgoing(SendWrapper<Local>);

impl Local {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, StdError>>> {
        if let Some(first) = self.first.take() {
            next_piece::say_is_ready(self.is_more_ready);
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
        next_piece::say_is_ready(reader.is_more_ready());
        match self.remaining.checked_sub(piece.len() as u64) {
            Some(remaining) => self.remaining = remaining,
            None => return self.fail(StdError::from("the object ran over its length")),
        }
        if self.remaining > 0 {
            self.next = step(reader);
        }
        Poll::Ready(Some(Ok(piece)))
    }

    /// Ends the stream, so that the finished future is not polled again.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::lenient_headers::LenientHeaders;
    use http::HeaderValue;
    use s3s::S3ErrorCode;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter().map(|(name, value)| ((*name).parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    fn caller(lenient: LenientHeaders) -> Caller {
        let mut caller = Caller::of(Default::default());
        caller.lenient = lenient;
        caller
    }

    fn announce(lenient: LenientHeaders, list: &[(&'static str, &'static str)]) -> S3Result<Announced> {
        Announced::new(&headers(list), &caller(lenient), None)
    }

    fn code<T>(result: S3Result<T>) -> Option<S3ErrorCode> {
        result.err().map(|error| error.code().clone())
    }

    fn sized(length: u64) -> LenientHeaders {
        LenientHeaders { body_length: Some(length), ..LenientHeaders::default() }
    }

    #[test]
    fn lengths_are_asked_for_and_limited() {
        assert_eq!(code(announce(LenientHeaders::default(), &[])), Some(S3ErrorCode::MissingContentLength));
        assert_eq!(code(announce(sized(BODY_BYTES_MAX + 1), &[])), Some(S3ErrorCode::EntityTooLarge));
        assert!(announce(sized(BODY_BYTES_MAX), &[]).is_ok());
    }

    #[test]
    fn content_md5_must_be_base64_of_16_bytes() {
        for bad in ["", "rL0Y20zC+Fzt72VPzMSk2A", "AAAA", "YWJyYWNhZGFicmE="] {
            let lenient = LenientHeaders { content_md5: Some(bad.to_owned()), ..sized(0) };
            assert_eq!(code(announce(lenient, &[])), Some(S3ErrorCode::InvalidDigest), "{bad:?}");
        }
        let lenient = LenientHeaders { content_md5: Some("rL0Y20zC+Fzt72VPzMSk2A==".to_owned()), ..sized(0) };
        let announced = announce(lenient, &[]).unwrap();
        assert_eq!(
            code(announced.verify(0, [0; 16], None, &Trailers::default())),
            Some(S3ErrorCode::BadDigest)
        );
    }

    #[test]
    fn a_wrong_length_or_checksum_is_refused() {
        let announced = announce(sized(3), &[("x-amz-checksum-crc32", "NSRBwg==")]).unwrap();
        let verify = |length, sum| announced.verify(length, [0; 16], Some(sum), &Trailers::default());
        assert_eq!(code(verify(2, "NSRBwg==")), Some(S3ErrorCode::IncompleteBody));
        assert_eq!(code(verify(3, "AAAAAA==")), Some(S3ErrorCode::BadDigest));
        assert!(verify(3, "NSRBwg==").is_ok());
    }

    #[test]
    fn the_file_of_a_form_may_be_shorter_than_the_form_and_not_longer() {
        let announced = || Announced::new(&headers(&[]), &caller(sized(3)), None).unwrap();
        let verify = |announced: &Announced, length| {
            let verified = announced.verify(length, [0; 16], None, &Trailers::default());
            verified.err().map(|error| error.code().clone())
        };
        let (body, form) = (announced(), announced().at_most());
        assert_eq!([2, 3, 4].map(|length| verify(&form, length).is_none()), [true, true, false]);
        assert_eq!([2, 3, 4].map(|length| verify(&body, length).is_none()), [false, true, false]);
    }

    #[test]
    fn without_a_declared_checksum_that_of_the_upload_is_computed() {
        let of = |list: &[_], fallback| Announced::new(&headers(list), &caller(sized(0)), fallback);
        assert_eq!(of(&[], None).unwrap().algorithm(), None);
        assert_eq!(of(&[], Some(Algorithm::XxHash3)).unwrap().algorithm(), Some(Algorithm::XxHash3));
        let sent = [("x-amz-trailer", "x-amz-checksum-md5")];
        assert_eq!(of(&sent, Some(Algorithm::Crc32)).unwrap().algorithm(), Some(Algorithm::Md5));
    }
}
