//! A body on its way in: hashed, compared with what was announced, written to the engine.
//!
//! Invariant: [`receive`] returns Ok only when length, Content-MD5 and checksum are what the client announced. The
//! caller commits the writer after that and only then; a dropped writer leaves nothing.

use super::access::Caller;
use super::checksum::{Algorithm, Hasher, encode_md5};
use super::declared::Declared;
use super::error::{EngineResult, from_body};
use crate::auth::Trailers;
use crate::auth::hash::Md5;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::StreamExt;
use http::HeaderMap;
use ringbolt_engine::node::ObjectWriter;
use ringbolt_engine::types::Etag;
use s3s::dto::StreamingBlob;
use s3s::{S3Result, s3_error};

/// The most a single PUT or part may have.
pub const BODY_BYTES_MAX: u64 = 5 << 30;

/// What the client said of the body before sending it.
#[derive(Debug)]
pub struct Announced {
    pub length: u64,
    /// Whether the body may be shorter: nobody knows how long the file of a form is before its end.
    shorter: bool,
    md5: Option<[u8; 16]>,
    declared: Declared,
    /// The checksum to compute.
    algorithm: Option<Algorithm>,
}

/// What came of the body.
pub struct Received {
    pub etag: Etag,
    pub checksum: Option<(Algorithm, String)>,
}

impl Announced {
    /// `fallback`: the checksum to compute when the request declares none (that of its upload).
    pub fn new(headers: &HeaderMap, caller: &Caller, fallback: Option<Algorithm>) -> S3Result<Self> {
        let Some(length) = caller.preamble.body_length else {
            return Err(s3_error!(MissingContentLength, "You must provide the Content-Length HTTP header."));
        };
        if length > BODY_BYTES_MAX {
            return Err(s3_error!(
                EntityTooLarge,
                "Your proposed upload has {length} bytes; the most for one request is {BODY_BYTES_MAX}"
            ));
        }
        let md5 = caller.preamble.content_md5.as_deref().map(parse_md5).transpose()?;
        let declared = Declared::of(headers)?;
        let algorithm = declared.algorithm().or(fallback);
        Ok(Self { length, shorter: false, md5, declared, algorithm })
    }

    /// For a body of no more than the announced length.
    pub fn at_most(self) -> Self {
        Self { shorter: true, ..self }
    }

    pub fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm
    }

    /// Compares what was announced with what came; both checksums in base64.
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

/// Content-MD5: base64 of 16 bytes.
pub fn parse_md5(text: &str) -> S3Result<[u8; 16]> {
    let decoded = BASE64.decode(text.trim()).ok();
    decoded
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| s3_error!(InvalidDigest, "The Content-MD5 you specified is not valid."))
}

/// Takes the whole body in.
pub async fn receive(
    body: Option<StreamingBlob>,
    writer: &mut ObjectWriter,
    announced: &Announced,
    trailers: &Trailers,
) -> S3Result<Received> {
    let mut md5 = Md5::new();
    // The ETag's MD5 is the checksum of that name too.
    let mut hasher = announced.algorithm.filter(|algorithm| *algorithm != Algorithm::Md5).map(Hasher::new);
    let mut length = 0u64;
    if let Some(mut body) = body {
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(from_body)?;
            length += piece.len() as u64;
            if length > announced.length {
                break;
            }
            md5.update(&piece);
            if let Some(hasher) = &mut hasher {
                hasher.update(&piece);
            }
            writer.write(&piece).await.s3()?;
        }
    }
    let md5 = md5.finish();
    let checksum = match hasher {
        Some(hasher) => Some((hasher.algorithm(), hasher.finish())),
        None => announced.algorithm.map(|algorithm| (algorithm, encode_md5(&md5))),
    };
    announced.verify(length, md5, checksum.as_ref().map(|(_, text)| text.as_str()), trailers)?;
    Ok(Received { etag: Etag { md5, parts: 0 }, checksum })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::preamble::Preamble;
    use http::HeaderValue;
    use s3s::S3ErrorCode;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter().map(|(name, value)| ((*name).parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    fn caller(preamble: Preamble) -> Caller {
        Caller { account: None, trailers: Trailers::default(), preamble }
    }

    fn announce(preamble: Preamble, list: &[(&'static str, &'static str)]) -> S3Result<Announced> {
        Announced::new(&headers(list), &caller(preamble), None)
    }

    fn code<T>(result: S3Result<T>) -> Option<S3ErrorCode> {
        result.err().map(|error| error.code().clone())
    }

    fn sized(length: u64) -> Preamble {
        Preamble { body_length: Some(length), ..Preamble::default() }
    }

    #[test]
    fn lengths_are_asked_for_and_limited() {
        assert_eq!(code(announce(Preamble::default(), &[])), Some(S3ErrorCode::MissingContentLength));
        assert_eq!(code(announce(sized(BODY_BYTES_MAX + 1), &[])), Some(S3ErrorCode::EntityTooLarge));
        assert!(announce(sized(BODY_BYTES_MAX), &[]).is_ok());
    }

    #[test]
    fn content_md5_must_be_base64_of_16_bytes() {
        for bad in ["", "rL0Y20zC+Fzt72VPzMSk2A", "AAAA", "YWJyYWNhZGFicmE="] {
            let preamble = Preamble { content_md5: Some(bad.to_owned()), ..sized(0) };
            assert_eq!(code(announce(preamble, &[])), Some(S3ErrorCode::InvalidDigest), "{bad:?}");
        }
        let preamble = Preamble { content_md5: Some("rL0Y20zC+Fzt72VPzMSk2A==".to_owned()), ..sized(0) };
        let announced = announce(preamble, &[]).unwrap();
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
