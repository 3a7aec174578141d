//! One request and its answer: id, head, signature, handler, headers, log line.
//!
//! Invariants: every answer carries `x-amz-request-id`, and the log line of the request has the same id. An answer
//! that leaves some of its request's body unread says `Connection: close`, and so does one to a malformed head: what
//! came behind them is never taken for a request.

use super::body::{RequestBody, RequestRecord, ResponseBody, Unread};
use super::error_response::{malformed, refused, unavailable};
use super::{BODY_BYTES_MAX, Front, Handler, REQUEST_BYTES, check_head};
use crate::memory::Held;
use http::header::{CONNECTION, EXPECT, HeaderValue, SERVER};
use http::{Method, Request, Response, StatusCode};
use hyper::body::{Body, Incoming};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

const CONTINUE: &[u8] = b"100-continue";

pub async fn exchange<H: Handler>(
    front: &Front<H>,
    mut request: Request<Incoming>,
) -> Response<ResponseBody> {
    let head = check_head(&mut request);
    let mut record = RequestRecord {
        method: request.method().clone(),
        uri: request.uri().clone(),
        request_id: front.ids.next(),
        started: Instant::now(),
        slow: front.limits.slow_request,
        status: StatusCode::OK,
        bytes: 0,
    };
    let unread = Unread::default();
    let skips_continue = skips_continue(&request);
    let (path, id) = (record.uri.path(), record.request_id.as_str());
    let (share, mut response) = match (head, front.memory.take(needed_bytes(&request))) {
        (Err(error), _) => {
            unread.set(true);
            (None, malformed(error, path, id))
        }
        (Ok(()), Err(error)) => {
            unread.set(!request.body().is_end_stream());
            (None, unavailable("SlowDown", &error.to_string(), path, id))
        }
        (Ok(()), Ok(share)) => (Some(share), answer(front, request, &record, &unread).await),
    };
    record.status = response.status();
    front.traffic.answered(record.status);
    let headers = response.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static("Ringbolt"));
    if let Ok(id) = HeaderValue::from_str(&record.request_id) {
        headers.insert("x-amz-request-id", id);
    }
    headers.insert("x-amz-id-2", front.ids.host_id.clone());
    if tells_region(&record)
        && let Ok(region) = HeaderValue::from_str(front.gate.region())
    {
        headers.insert("x-amz-bucket-region", region);
    }
    if unread.get() || skips_continue {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let held = response.extensions_mut().remove::<Held>();
    response.map(|body| ResponseBody::new(body, record, (share, held)))
}

fn needed_bytes(request: &Request<Incoming>) -> u64 {
    let body = request.body().size_hint().upper().unwrap_or(u64::MAX);
    REQUEST_BYTES + (2 * body.min(BODY_BYTES_MAX)).min(BODY_BYTES_MAX)
}

async fn answer<H: Handler>(
    front: &Front<H>,
    request: Request<Incoming>,
    record: &RequestRecord,
    unread: &Unread,
) -> Response<s3s::Body> {
    let (path, id) = (record.uri.path(), record.request_id.as_str());
    let Some(handler) = front.handler.get() else {
        let message = "The server is starting: it recovers its drives. Please try again.";
        return unavailable("ServiceUnavailable", message, path, id);
    };
    let stall = front.limits.body_stall;
    let request = request.map(|body| RequestBody::new(body, stall, unread.clone()));
    let admitted = match front.gate.admit(request, id, unix_seconds()) {
        Ok(admitted) => admitted,
        Err(error) => return refused(&error, path, id),
    };
    let response = handler.call(admitted.request).await;
    // The handler only knows that its body failed; what the client did wrong is known here.
    match admitted.failure.get() {
        Some(error) if !response.status().is_success() => refused(error, path, id),
        _ => response,
    }
}

/// A client that waits for "100 Continue" and has nothing to send gets the final answer at once, which HTTP allows.
/// botocore (1.43) then takes the status line of the next answer on that connection for a header, and waits for
/// ever: for such clients the connection ends here. Bodies left unread end it anyway.
fn skips_continue(request: &Request<Incoming>) -> bool {
    let expects =
        request.headers().get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(CONTINUE));
    expects && request.body().is_end_stream()
}

/// Clients ask by HEAD in which region a bucket is, and look for it in the refusal too: an answer to HEAD has no body
/// that could tell. Of a bucket that is not there S3 names no region, and some clients take the header for its being
/// there.
fn tells_region(record: &RequestRecord) -> bool {
    let refused = matches!(record.status, StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN);
    refused && record.method == Method::HEAD
}

fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
