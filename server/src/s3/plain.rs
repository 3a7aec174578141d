//! The most frequent request on the shortest way: GET of an object by path, with nothing in the query.
//!
//! Invariants: only what s3s would hand to [`super::object::get_object`] with the same meaning is answered here, by the
//! same code behind it; whatever needs judging (virtual hosts, names that are not valid, versions, keys for
//! encryption, odd headers) is left to s3s. Measured: docs/decisions/0003-plain-get.md.

use super::Server;
use super::access::Caller;
use super::object::{Shown, show, wants_checksums};
use super::preamble::{Preamble, to_header};
use crate::auth::RequestContext;
use http::header::{self, HeaderName};
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use percent_encoding::percent_decode_str;
use ringbolt_engine::types::Bucket;
use s3s::{Body, S3Result};
use std::borrow::Cow;
use std::rc::Rc;

const CHECKSUM_MODE: &str = "x-amz-checksum-mode";
/// Headers of S3's that change nothing about a plain GET, or are judged here.
const KNOWN: [&str; 4] = ["x-amz-date", "x-amz-content-sha256", "x-amz-user-agent", CHECKSUM_MODE];
/// Some SDKs name the operation in the query, which changes nothing.
const OPERATION_NAME: &str = "x-id=GetObject";
const KEY_BYTES_MAX: usize = 1024;

/// A GET as plain as that.
pub struct PlainGet<'a> {
    bucket: Rc<Bucket>,
    key: Cow<'a, str>,
    checksums: bool,
}

impl<'a> PlainGet<'a> {
    /// None: the request is another, or wants to be looked at closely.
    pub fn of(server: &Server, request: &'a Request<Body>) -> Option<Self> {
        let uri = request.uri();
        let plain = request.method() == Method::GET
            && uri.query().is_none_or(|query| query == OPERATION_NAME)
            && server.domains.is_none()
            && request.body().is_end_stream()
            && request.headers().keys().all(is_harmless);
        let (bucket, key) = uri.path().strip_prefix('/').filter(|_| plain)?.split_once('/')?;
        let key = percent_decode_str(key).decode_utf8().ok()?;
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return None;
        }
        // A name that needs decoding, or is no name at all, is none of a bucket that is there.
        let bucket = server.core.bucket(bucket)?;
        let mode = request.headers().get(CHECKSUM_MODE).and_then(|value| value.to_str().ok());
        Some(Self { bucket, key, checksums: wants_checksums(mode) })
    }

    /// The answer, as [`super::object::get_object`] gives it through s3s.
    pub async fn answer(
        self,
        server: &Server,
        context: Option<&RequestContext>,
        preamble: Preamble,
    ) -> S3Result<Response<Body>> {
        let (account, trailers) =
            context.map(|context| (context.account.clone(), context.trailers.clone())).unwrap_or_default();
        let caller = Caller { account, trailers, preamble };
        server.check_owner(&caller, &self.bucket)?;
        let shown = show(server, &caller, &self.bucket, &self.key, None, self.checksums).await?;
        let Shown { headers, content_range, body, held } = shown;
        let mut response = Response::new(body);
        *response.headers_mut() = headers;
        if let Some(held) = held {
            response.extensions_mut().insert(held);
        }
        if let Some(range) = content_range.and_then(|range| to_header(&range)) {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            response.headers_mut().insert(header::CONTENT_RANGE, range);
        }
        Ok(response)
    }
}

fn is_harmless(name: &HeaderName) -> bool {
    let text = name.as_str();
    if text.starts_with("x-amz-") {
        return KNOWN.contains(&text);
    }
    // Of a body that a GET has not, and that s3s reads all the same. (A length can only be 0 here.)
    *name != header::CONTENT_TYPE && *name != header::TRANSFER_ENCODING
}
