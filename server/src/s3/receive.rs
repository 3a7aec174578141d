//! A body on its way in: hashed, compared with what was announced, written to the engine.
//!
//! Invariant: [`receive`] returns Ok only when length, Content-MD5 and checksum are what the client
//! announced. The caller commits the writer after that and only then; a dropped writer leaves nothing.

use super::access::Caller;
use super::checksum::{Algorithm, Hasher};
use super::error::{EngineResult, from_body, invalid_request};
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
    checksum: Option<(Algorithm, Expected)>,
}

#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Value(String),
    Trailer,
    /// The client asked for the checksum without saying what it should be.
    Nothing,
}

/// What came of the body.
pub struct Received {
    pub etag: Etag,
    pub checksum: Option<(Algorithm, String)>,
}

impl Announced {
    /// `fallback`: the checksum to compute when the request asks for none (that of its upload).
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
        let checksum = checksum_of(headers)?.or(fallback.map(|algorithm| (algorithm, Expected::Nothing)));
        Ok(Self { length, shorter: false, md5, checksum })
    }

    /// For a body of no more than the announced length.
    pub fn at_most(self) -> Self {
        Self { shorter: true, ..self }
    }

    pub fn algorithm(&self) -> Option<Algorithm> {
        self.checksum.as_ref().map(|(algorithm, _)| *algorithm)
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
        let (Some((algorithm, expected)), Some(computed)) = (&self.checksum, checksum) else { return Ok(()) };
        let announced = match expected {
            Expected::Nothing => return Ok(()),
            Expected::Value(value) => value.clone(),
            Expected::Trailer => trailers.get(algorithm.header()).ok_or_else(|| {
                invalid_request(format!("The body ended without the trailer {}", algorithm.header()))
            })?,
        };
        if announced.trim() != computed {
            return Err(s3_error!(
                BadDigest,
                "The {} you specified did not match the calculated checksum.",
                algorithm.name()
            ));
        }
        Ok(())
    }
}

/// Content-MD5: base64 of 16 bytes.
pub fn parse_md5(text: &str) -> S3Result<[u8; 16]> {
    let decoded = BASE64.decode(text.trim()).ok();
    decoded
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| s3_error!(InvalidDigest, "The Content-MD5 you specified is not valid."))
}

/// The one checksum that the headers ask for.
fn checksum_of(headers: &HeaderMap) -> S3Result<Option<(Algorithm, Expected)>> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let mut values = Algorithm::ALL
        .into_iter()
        .filter_map(|algorithm| Some((algorithm, Expected::Value(text(algorithm.header())?.to_owned()))));
    let value = values.next();
    if values.next().is_some() {
        return Err(invalid_request("Expecting a single x-amz-checksum- header"));
    }
    let trailer = text("x-amz-trailer")
        .and_then(|list| list.split(',').find_map(|name| Algorithm::from_header(name.trim())))
        .map(|algorithm| (algorithm, Expected::Trailer));
    let asked = text("x-amz-sdk-checksum-algorithm").or_else(|| text("x-amz-checksum-algorithm"));
    let asked =
        match asked {
            None => None,
            Some(name) => Some(Algorithm::from_name(name).ok_or_else(|| {
                invalid_request(format!("Checksum algorithm provided is unsupported: {name}"))
            })?),
        };
    let found = value.or(trailer);
    if let (Some((found, _)), Some(asked)) = (&found, asked)
        && *found != asked
    {
        return Err(invalid_request(format!(
            "Value for x-amz-sdk-checksum-algorithm header is {}, but the checksum sent is {}",
            asked.name(),
            found.name()
        )));
    }
    Ok(found.or(asked.map(|algorithm| (algorithm, Expected::Nothing))))
}

/// Takes the whole body in.
pub async fn receive(
    body: Option<StreamingBlob>,
    writer: &mut ObjectWriter,
    announced: &Announced,
    trailers: &Trailers,
) -> S3Result<Received> {
    let mut md5 = Md5::new();
    let mut hasher = announced.algorithm().map(Hasher::new);
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
    let checksum = hasher.map(|hasher| (hasher.algorithm(), hasher.finish()));
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
    fn one_checksum_by_header_or_trailer() {
        let found = |list: &[_]| checksum_of(&headers(list));
        assert_eq!(
            found(&[("x-amz-checksum-sha1", "x")]).unwrap(),
            Some((Algorithm::Sha1, Expected::Value("x".to_owned())))
        );
        assert_eq!(
            found(&[("x-amz-trailer", "x-amz-checksum-crc32c"), ("x-amz-sdk-checksum-algorithm", "CRC32C")])
                .unwrap(),
            Some((Algorithm::Crc32c, Expected::Trailer))
        );
        let two = [("x-amz-checksum-sha1", "x"), ("x-amz-checksum-crc32", "y")];
        assert_eq!(code(found(&two)), Some(S3ErrorCode::InvalidRequest));
        let other = [("x-amz-checksum-sha1", "x"), ("x-amz-sdk-checksum-algorithm", "CRC32")];
        assert_eq!(code(found(&other)), Some(S3ErrorCode::InvalidRequest));
        assert_eq!(
            code(found(&[("x-amz-sdk-checksum-algorithm", "MD4")])),
            Some(S3ErrorCode::InvalidRequest)
        );
    }

    #[test]
    fn a_wrong_length_checksum_or_trailer_is_refused() {
        let announced = announce(sized(3), &[("x-amz-trailer", "x-amz-checksum-crc32")]).unwrap();
        let trailers = Trailers::default();
        let verify = |length| announced.verify(length, [0; 16], Some("sum"), &trailers);
        assert_eq!(code(verify(2)), Some(S3ErrorCode::IncompleteBody));
        let form = announce(sized(3), &[]).unwrap().at_most();
        let of_form = |length| code(form.verify(length, [0; 16], None, &trailers));
        assert_eq!((of_form(2), of_form(3), of_form(4)), (None, None, Some(S3ErrorCode::IncompleteBody)));
        assert_eq!(code(verify(3)), Some(S3ErrorCode::InvalidRequest));
        trailers.fill(vec![("x-amz-checksum-crc32".to_owned(), "other".to_owned())]);
        assert_eq!(code(verify(3)), Some(S3ErrorCode::BadDigest));
        let trailers = Trailers::default();
        trailers.fill(vec![("x-amz-checksum-crc32".to_owned(), "sum".to_owned())]);
        assert!(announced.verify(3, [0; 16], Some("sum"), &trailers).is_ok());
    }
}
