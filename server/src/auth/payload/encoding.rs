//! The encodings of S3 for a request's body, and the length of the body once it is decoded.

use crate::auth::AuthError;
use crate::auth::signature::{CONTENT_SHA256, UNSIGNED_PAYLOAD};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};

const DECODED_LENGTH: &str = "x-amz-decoded-content-length";

/// How a body is encoded on the wire, and what it is verified by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadEncoding {
    /// The bytes come as they are.
    Plain,
    /// The bytes come as they are, and this must be their SHA-256.
    Hashed([u8; 32]),
    /// The bytes come in aws-chunked form.
    Chunked { signed: bool, with_trailers: bool },
}

impl PayloadEncoding {
    /// Reads the encoding from the headers. Fails if `x-amz-content-sha256` has a value that S3
    /// does not know.
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

/// Changes the headers into those of the decoded body, and returns its length in bytes. Returns
/// None if no length was announced, which says that the body is empty. Fails if a length is missing
/// or is no number.
pub fn decode_headers(headers: &mut HeaderMap, form: PayloadEncoding) -> Result<Option<u64>, AuthError> {
    headers.remove(CONTENT_SHA256);
    let decoded = length_of(headers, HeaderName::from_static(DECODED_LENGTH), DECODED_LENGTH)?;
    headers.remove(DECODED_LENGTH);
    if !matches!(form, PayloadEncoding::Chunked { .. }) {
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

/// Removes `aws-chunked` from Content-Encoding: it describes the transfer, and the other encodings
/// describe the object.
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
        let form = PayloadEncoding::of(&headers).unwrap();
        assert_eq!(form, PayloadEncoding::Chunked { signed: false, with_trailers: true });
        assert_eq!(decode_headers(&mut headers, form), Ok(Some(5)));
        assert_eq!(headers[CONTENT_LENGTH], "5");
        assert_eq!(headers[CONTENT_ENCODING], "gzip");
        assert_eq!(headers.len(), 2);
    }

    #[test]
    fn lengths_that_are_missing_or_no_numbers_are_refused() {
        let chunked = PayloadEncoding::Chunked { signed: true, with_trailers: false };
        assert_eq!(decode_headers(&mut HeaderMap::new(), chunked), Err(AuthError::MissingContentLength));
        let mut headers = HeaderMap::new();
        headers.insert(DECODED_LENGTH, HeaderValue::from_static("-1"));
        assert!(matches!(decode_headers(&mut headers, chunked), Err(AuthError::BadHeader { .. })));
        let mut headers = HeaderMap::new();
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        assert_eq!(
            decode_headers(&mut headers, PayloadEncoding::Plain),
            Err(AuthError::MissingContentLength)
        );
    }
}
