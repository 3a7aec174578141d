//! XML that comes in: read here, and not by s3s, so that its memory is counted before it is there.
//!
//! Invariant: a document is read only as far as it was announced, and parsed only when its share of the core's memory
//! for requests covers what becomes of it. Bodies of objects and parts pass untouched.

use super::delete;
use super::error::{from_body, slow_down};
use super::preamble::Preamble;
use crate::memory::{Held, RequestMemory, Share};
use bytes::BytesMut;
use futures_util::StreamExt;
use http::{Method, Request, Response};
use http_body::Body as _;
use s3s::config::{S3Config, S3ConfigProvider, StaticConfigProvider};
use s3s::{Body, S3Result, s3_error};
use std::sync::Arc;

/// Ample for 1000 keys of 1024 bytes, each byte written as an XML character reference.
const DELETE_BYTES_MAX: u64 = 8 << 20;
/// Ample for 10,000 parts with ETag and checksum.
const COMPLETE_BYTES_MAX: u64 = 4 << 20;
const OTHER_BYTES_MAX: u64 = 64 << 10;
/// Keys of a DeleteObjects and parts of a Complete together: S3 allows 1,000 and 10,000.
const ITEMS_MAX: usize = 10_000;
/// What a key or part of a list takes, parsed, while it is worked off, and in the answer.
const ITEM_BYTES: u64 = 1024;
/// A small document of nothing but tags takes so much more than its text.
const PARSED_TIMES: u64 = 32;
/// Beside the text of an answer.
const ANSWER_BYTES: u64 = 4 << 10;

/// s3s reads only what this module let pass, and no more than this of it.
pub fn limits() -> Arc<dyn S3ConfigProvider> {
    let mut config = S3Config::default();
    config.xml_max_body_size = OTHER_BYTES_MAX as usize;
    Arc::new(StaticConfigProvider::new(Arc::new(config)))
}

/// Reads the document of a request that has one. Its share is to be kept until the answer is there.
pub async fn take_in(
    mut request: Request<Body>,
    preamble: &Preamble,
    has_key: bool,
    memory: &RequestMemory,
) -> S3Result<(Request<Body>, Option<Share>)> {
    let deletes = delete::is_asked(&request);
    if !deletes && (request.body().is_end_stream() || !has_document(&request, has_key)) {
        return Ok((request, None));
    }
    let completes = !deletes && has_key && request.method() == Method::POST;
    let bytes_max = match (deletes, completes) {
        (true, _) => DELETE_BYTES_MAX,
        (_, true) => COMPLETE_BYTES_MAX,
        _ => OTHER_BYTES_MAX,
    };
    let length = preamble.body_length.unwrap_or(0);
    if length > bytes_max {
        return Err(s3_error!(
            MaxMessageLengthExceeded,
            "Your request was too big: its document has {length} bytes, the most is {bytes_max}"
        ));
    }
    let share = memory.take(length).map_err(slow_down)?;
    let mut bytes = BytesMut::with_capacity(usize::try_from(length).unwrap_or(0));
    while let Some(piece) = request.body_mut().next().await {
        let piece = piece.map_err(from_body)?;
        if (bytes.len() + piece.len()) as u64 > length {
            return Err(s3_error!(IncompleteBody, "You announced {length} bytes and sent more"));
        }
        bytes.extend_from_slice(&piece);
    }
    let bytes = bytes.freeze();
    if deletes {
        delete::verify_list(&request, preamble, &bytes)?;
    }
    let needed = match deletes || completes {
        true => 3 * length + items(&bytes)? * ITEM_BYTES,
        false => PARSED_TIMES * length,
    };
    share.set(needed).map_err(slow_down)?;
    *request.body_mut() = Body::from(bytes);
    Ok((request, Some(share)))
}

/// All that is no object and no part: their PUT has neither a subresource nor anything but the part in its query.
fn has_document(request: &Request<Body>, has_key: bool) -> bool {
    if request.method() != Method::PUT || !has_key {
        return true;
    }
    const DOCUMENTS: [&str; 4] = ["acl", "legal-hold", "retention", "tagging"];
    let names = request.uri().query().unwrap_or_default().split('&');
    names.filter_map(|pair| pair.split('=').next()).any(|name| DOCUMENTS.contains(&name))
}

/// Entries of a list. `PartNumber` begins like `Part`, and is counted out again.
fn items(document: &[u8]) -> S3Result<u64> {
    let count = |tag: &[u8]| document.windows(tag.len()).filter(|window| *window == tag).count();
    let items = count(b"<Object") + count(b"<Part") - count(b"<PartNumber");
    if items > ITEMS_MAX {
        return Err(s3_error!(MalformedXML, "The list has {items} entries; the most is {ITEMS_MAX}"));
    }
    Ok(items as u64)
}

/// The answer is there: of what was taken for making it, it needs its own length.
pub fn shrink(response: &Response<Body>) {
    // Of a stream this server holds no text.
    let text = response.body().bytes().is_some();
    if let Some(held) = response.extensions().get::<Held>().filter(|_| text) {
        held.shrink(response.body().size_hint().lower() + ANSWER_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use s3s::S3ErrorCode;

    fn request(method: &str, uri: &str, body: &str) -> (Request<Body>, Preamble) {
        let request = Request::builder().method(method).uri(uri).body(Body::from(body.to_owned())).unwrap();
        (request, Preamble { body_length: Some(body.len() as u64), ..Preamble::default() })
    }

    /// What is free of 100,000 bytes once the document is in.
    fn take(method: &str, uri: &str, has_key: bool, body: &str) -> Result<Option<u64>, S3ErrorCode> {
        let memory = RequestMemory::new(100_000);
        let (request, preamble) = request(method, uri, body);
        let taken = take_in(request, &preamble, has_key, &memory).now_or_never().expect("it is all there");
        let (_, share) = taken.map_err(|error| error.code().clone())?;
        Ok(share.map(|_share| memory.take(200_000).unwrap_err().free_bytes))
    }

    #[test]
    fn objects_and_parts_pass_and_documents_are_counted() {
        assert_eq!(take("PUT", "/b/k", true, "an object"), Ok(None));
        assert_eq!(take("PUT", "/b/k?partNumber=1&uploadId=x", true, "a part"), Ok(None));
        assert_eq!(take("POST", "/b/k?uploads", true, ""), Ok(None));
        assert_eq!(take("PUT", "/b?acl", false, "<a/>"), Ok(Some(100_000 - 4 * 32)));
        assert_eq!(take("PUT", "/b/k?acl", true, "<a/>"), Ok(Some(100_000 - 4 * 32)));
        let parts = "<Part><PartNumber>1</PartNumber></Part><Part/>";
        let taken = 3 * parts.len() as u64 + 2 * ITEM_BYTES;
        assert_eq!(take("POST", "/b/k?uploadId=x", true, parts), Ok(Some(100_000 - taken)));
    }

    #[test]
    fn what_is_too_long_or_finds_no_memory_is_refused() {
        let long = "x".repeat(OTHER_BYTES_MAX as usize + 1);
        assert_eq!(take("PUT", "/b?acl", false, &long), Err(S3ErrorCode::MaxMessageLengthExceeded));
        let many = "<Part/>".repeat(200);
        assert_eq!(take("POST", "/b/k?uploadId=x", true, &many), Err(S3ErrorCode::SlowDown));
        let (request, preamble) = request("POST", "/b/k?uploadId=x", &"<Part/>".repeat(ITEMS_MAX + 1));
        let memory = RequestMemory::new(1 << 30);
        let taken = take_in(request, &preamble, true, &memory).now_or_never().expect("it is all there");
        assert_eq!(taken.err().map(|error| error.code().clone()), Some(S3ErrorCode::MalformedXML));
        assert!(memory.take(1 << 30).is_ok(), "what was refused holds nothing");
    }
}
