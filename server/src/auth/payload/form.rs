//! Which of the payload forms of S3 a request uses, and how long its body is behind this room.

use crate::auth::AuthError;
use crate::auth::signature::{CONTENT_SHA256, UNSIGNED_PAYLOAD};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};

const DECODED_LENGTH: &str = "x-amz-decoded-content-length";

/// How the bytes of a body are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadForm {
    /// As they come.
    Plain,
    /// As they come, and their SHA-256 must be this.
    Hashed([u8; 32]),
    /// aws-chunked.
    Chunked { signed: bool, with_trailers: bool },
}

impl PayloadForm {
    pub fn of(headers: &HeaderMap) -> Result<Self, AuthError> {
        let Some(value) = headers.get(CONTENT_SHA256) else { return Ok(Self::Plain) };
        match value.as_bytes() {
            value if value == UNSIGNED_PAYLOAD.as_bytes() => Ok(Self::Plain),
            b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Ok(Self::Chunked { signed: true, with_trailers: false }),
            b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => {
                Ok(Self::Chunked { signed: true, with_trailers: true })
            }
            b"STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Ok(Self::Chunked { signed: false, with_trailers: true }),
            digits => {
                let mut hash = [0; 32];
                hex::decode_to_slice(digits, &mut hash).map_err(|_| AuthError::BadHeader {
                    name: CONTENT_SHA256,
                    reason: "it must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
                             STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER \
                             or 64 hexadecimal digits"
                        .to_owned(),
                })?;
                Ok(Self::Hashed(hash))
            }
        }
    }
}

/// Makes the headers those of the plain body. Returns its length; None: not announced, and empty.
pub fn make_plain(headers: &mut HeaderMap, form: PayloadForm) -> Result<Option<u64>, AuthError> {
    headers.remove(CONTENT_SHA256);
    let decoded = length_of(headers, HeaderName::from_static(DECODED_LENGTH), DECODED_LENGTH)?;
    headers.remove(DECODED_LENGTH);
    if !matches!(form, PayloadForm::Chunked { .. }) {
        let announced = length_of(headers, CONTENT_LENGTH, "content-length")?;
        if announced.is_none() && headers.contains_key(TRANSFER_ENCODING) {
            return Err(AuthError::MissingContentLength);
        }
        return Ok(announced);
    }
    let length = decoded.ok_or(AuthError::MissingContentLength)?;
    headers.remove(TRANSFER_ENCODING);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    remove_aws_chunked(headers);
    Ok(Some(length))
}

fn length_of(headers: &HeaderMap, header: HeaderName, name: &'static str) -> Result<Option<u64>, AuthError> {
    let Some(value) = headers.get(header) else { return Ok(None) };
    let number = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match number.and_then(|text| text.parse().ok()) {
        Some(number) => Ok(Some(number)),
        None => Err(AuthError::BadHeader { name, reason: "it must be a number of bytes".to_owned() }),
    }
}

/// `aws-chunked` describes the wire, not the object; the other encodings are the object's.
fn remove_aws_chunked(headers: &mut HeaderMap) {
    let kept: Vec<String> = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|coding| coding.trim().to_owned())
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    headers.remove(CONTENT_ENCODING);
    if let Some(value) = (!kept.is_empty()).then(|| HeaderValue::from_str(&kept.join(", ")).ok()).flatten() {
        headers.insert(CONTENT_ENCODING, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunked_headers_become_those_of_the_plain_body() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_SHA256, HeaderValue::from_static("STREAMING-UNSIGNED-PAYLOAD-TRAILER"));
        headers.insert(DECODED_LENGTH, HeaderValue::from(5));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(60));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip,aws-chunked"));
        let form = PayloadForm::of(&headers).unwrap();
        assert_eq!(form, PayloadForm::Chunked { signed: false, with_trailers: true });
        assert_eq!(make_plain(&mut headers, form), Ok(Some(5)));
        assert_eq!(headers[CONTENT_LENGTH], "5");
        assert_eq!(headers[CONTENT_ENCODING], "gzip");
        assert_eq!(headers.len(), 2);
    }

    #[test]
    fn lengths_that_are_missing_or_no_numbers_are_refused() {
        let chunked = PayloadForm::Chunked { signed: true, with_trailers: false };
        assert_eq!(make_plain(&mut HeaderMap::new(), chunked), Err(AuthError::MissingContentLength));
        let mut headers = HeaderMap::new();
        headers.insert(DECODED_LENGTH, HeaderValue::from_static("-1"));
        assert!(matches!(make_plain(&mut headers, chunked), Err(AuthError::BadHeader { .. })));
        let mut headers = HeaderMap::new();
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        assert_eq!(make_plain(&mut headers, PayloadForm::Plain), Err(AuthError::MissingContentLength));
    }
}
