//! One request and its answer: id, head, authentication, handler, headers, log line.
//!
//! Invariants:
//! - Every answer carries `x-amz-request-id`, and every line that is logged while the request is
//!   worked on names the same id.
//! - An answer that leaves some of its request's body unread says `Connection: close`, and so does
//!   one to a malformed head: what came after them is never taken for a request.

use super::body::{RequestBody, RequestRecord, ResponseBody, Unread};
use super::head::{ALLOWED, HeadError};
use super::{BODY_BYTES_MAX, Handler, HttpServer, Limits, REQUEST_BYTES, Start, StartProgress, check_head};
use crate::auth::{AuthError, RequestContext, WrongKey, anonymous};
use crate::client::{Client, NoAddress};
use crate::memory::ResponseMemory;
use crate::throttle::{Held, Key, Pace, ThrottleLimits};
use crate::unix_time::now_s;
use crate::xml::XmlWriter;
use http::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, EXPECT, HeaderMap, HeaderValue, RETRY_AFTER, SERVER, VARY,
};
use http::{Method, Request, Response, StatusCode};
use hyper::body::{Body, Incoming};
use ringbolt_engine::types::RequestId;
use std::cell::Cell;
use std::pin::pin;
use std::time::{Duration, Instant};

const CONTINUE: &[u8] = b"100-continue";

/// Makes the request ids of one core: unique over cores and restarts, and cheap to make.
pub struct RequestIds {
    /// A random number of this start. It spreads the ids of cores and runs over all 64 bits.
    base: u64,
    count: Cell<u64>,
    /// The id of the server, which is sent as `x-amz-id-2`.
    pub host_id: HeaderValue,
}

impl RequestIds {
    /// Makes the ids that follow from `base`, which must be random.
    pub fn new(base: u64) -> Self {
        let host_id = HeaderValue::from_str(&format!("ringbolt-{base:016x}"));
        Self { base, count: Cell::new(0), host_id: host_id.unwrap_or(HeaderValue::from_static("ringbolt")) }
    }

    /// Returns an id that was not given out before.
    pub fn next(&self) -> RequestId {
        let count = self.count.get();
        self.count.set(count + 1);
        // An odd multiplier permutes the 64-bit numbers: no id repeats before the counter does.
        RequestId(self.base.wrapping_add(count.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }
}

/// Answers one request: checks its head, reserves its memory, authenticates it, and calls the
/// handler. What goes wrong is the answer.
pub async fn exchange<H: Handler>(
    server: &HttpServer<H>,
    peer: Client,
    mut request: Request<Incoming>,
) -> Response<ResponseBody> {
    let (head, limits) = (check_head(&mut request), server.limits());
    let client = server.proxies.client_of(peer, request.headers());
    let head = head.and_then(|()| client.map(|_| ()).map_err(|NoAddress| HeadError::ForwardedFor));
    let mut record = RequestRecord {
        method: request.method().clone(),
        uri: request.uri().clone(),
        request_id: server.ids.next(),
        client: client.unwrap_or(peer),
        started: Instant::now(),
        slow: limits.slow_request,
        status: StatusCode::OK,
        bytes: 0,
    };
    // A head that is malformed may be read in two ways: it is answered as it is.
    let handler = server.handler.get().filter(|_| head.is_ok());
    let beside = handler.and_then(|handler| handler.headers_beside(&request));
    let (unread, pace) = (Unread::default(), Pace::of(&limits.throttle));
    let skips_continue = skips_continue(&request);
    let (path, id) = (record.uri.path(), record.request_id);
    let (mut reservation, mut response) = match (head, server.memory.reserve(needed_bytes(&request))) {
        (Err(error), _) => {
            unread.set(true);
            (None, malformed(error, path, id))
        }
        (Ok(()), Err(error)) => {
            unread.set(!request.body().is_end_stream());
            (None, unavailable("SlowDown", &error.to_string(), path, id))
        }
        (Ok(()), Ok(reservation)) => {
            // Pinned here: the scope is given a pointer, and not the whole future.
            let answer = pin!(answer(server, &limits, request, &record, (&unread, &pace)));
            (Some(reservation), id.scope(answer).await)
        }
    };
    if let Some(wait) = wait_of(server, &record, &mut response) {
        // What waits needs no more than its connection.
        reservation = None;
        monoio::time::sleep(wait).await;
    }
    record.status = response.status();
    server.traffic.answered(record.status);
    let headers = response.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static("Ringbolt"));
    if let Ok(id) = HeaderValue::try_from(record.request_id.to_string()) {
        headers.insert("x-amz-request-id", id);
    }
    headers.insert("x-amz-id-2", server.ids.host_id.clone());
    if tells_region(&record)
        && let Ok(region) = HeaderValue::from_str(server.authenticator.region())
    {
        headers.insert("x-amz-bucket-region", region);
    }
    if let Some(beside) = beside {
        add(headers, beside);
    }
    if unread.get() || skips_continue {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let held = response.extensions_mut().remove::<ResponseMemory>();
    response.map(|body| ResponseBody::new(body, record, pace, (reservation, held)))
}

/// Returns how long an answer waits, if its client has to learn to wait.
fn wait_of<H: Handler>(
    server: &HttpServer<H>,
    record: &RequestRecord,
    response: &mut Response<s3s::Body>,
) -> Option<Duration> {
    let address = record.client.address;
    if let Some(held) = response.extensions_mut().remove::<Held>() {
        tracing::debug!(%address, reason = %held, "a request was held back");
        return Some(held.delay());
    }
    response.extensions_mut().remove::<WrongKey>()?;
    let wait = server.wrong_keys.note(address, now_s())?;
    tracing::debug!(%address, ?wait, "an address sent many wrong keys; its answer waits");
    Some(wait)
}

/// Notes who sent a request, and what it is charged to, for the handler.
fn sent_by(client: Client, pace: &Pace, mut request: Request<s3s::Body>) -> Request<s3s::Body> {
    if let Some(context) = request.extensions_mut().get_mut::<RequestContext>() {
        context.client = client;
        context.pace = pace.clone();
    }
    request
}

/// Adds headers to those of an answer. Of Vary both count.
fn add(headers: &mut HeaderMap, added: HeaderMap) {
    for (name, value) in added {
        match name {
            Some(VARY) => _ = headers.append(VARY, value),
            Some(name) => _ = headers.insert(name, value),
            None => {}
        }
    }
}

fn needed_bytes(request: &Request<Incoming>) -> u64 {
    let body = request.body().size_hint().upper().unwrap_or(u64::MAX);
    REQUEST_BYTES + (2 * body.min(BODY_BYTES_MAX)).min(BODY_BYTES_MAX)
}

/// Lets a request in if its key and its bucket are not ahead of their limits, and notes that in `pace`.
fn hold_to_limits<H: Handler, B>(
    (server, handler): (&HttpServer<H>, &H),
    limits: ThrottleLimits,
    request: &Request<B>,
    key: Key<'_>,
    pace: &Pace,
) -> Result<(), Held> {
    if limits.is_any() {
        let admitted = server.throttle.admit(limits, key, handler.bucket_of(request).as_deref());
        pace.set(admitted.inspect_err(|_| server.traffic.held_back())?);
    }
    Ok(())
}

async fn answer<H: Handler>(
    server: &HttpServer<H>,
    limits: &Limits,
    request: Request<Incoming>,
    record: &RequestRecord,
    (unread, pace): (&Unread, &Pace),
) -> Response<s3s::Body> {
    let (path, id) = (record.uri.path(), record.request_id);
    let Some(handler) = server.handler.get() else {
        return starting(server.start.as_ref().map(Start::progress), path, id);
    };
    let stall = limits.body_stall;
    let request = request.map(|body| RequestBody::new(body, stall, unread.clone(), pace.clone()));
    let anybody = Key::Anonymous(record.client.address);
    if handler.is_for_anybody(&request) {
        return match hold_to_limits((server, handler), limits.throttle, &request, anybody, pace) {
            Ok(()) => handler.call(sent_by(record.client, pace, anonymous(request, id))).await,
            Err(held) => slow_down(held, path, id),
        };
    }
    let admitted = match server.authenticator.authenticate(request, id, now_s()) {
        Ok(admitted) => admitted,
        Err(error) => {
            let mut response = refused(&error, path, id);
            if error.is_wrong_key() {
                response.extensions_mut().insert(WrongKey);
            }
            return response;
        }
    };
    let context = admitted.request.extensions().get::<RequestContext>();
    let signer = context.and_then(|context| context.signer.as_ref());
    let key = signer.map_or(anybody, |signer| Key::Access(&signer.access_key));
    if let Err(held) = hold_to_limits((server, handler), limits.throttle, &admitted.request, key, pace) {
        return slow_down(held, path, id);
    }
    let response = handler.call(sent_by(record.client, pace, admitted.request)).await;
    // The handler only knows that its body failed; what the client did wrong is known here.
    match admitted.failure.get() {
        Some(error) if !response.status().is_success() => refused(error, path, id),
        _ => response,
    }
}

/// Returns whether a client waits for "100 Continue" and has nothing to send. It gets the final
/// answer at once, which HTTP allows. botocore (1.43) then takes the status line of the next answer
/// on that connection for a header and waits for ever, so the connection ends here. Bodies that
/// were left unread end it anyway.
fn skips_continue(request: &Request<Incoming>) -> bool {
    let expects =
        request.headers().get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(CONTINUE));
    expects && request.body().is_end_stream()
}

/// Returns whether an answer tells the region. Clients ask by HEAD in which region a bucket is, and
/// look for it in the refusal too: an answer to HEAD has no body that could tell. S3 names no
/// region for a bucket that does not exist, and some clients take the header for a sign that it
/// does.
fn tells_region(record: &RequestRecord) -> bool {
    let refused = matches!(record.status, StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN);
    refused && record.method == Method::HEAD
}

/// Answers a request whose signature or body was refused.
pub fn refused(error: &AuthError, resource: &str, request_id: RequestId) -> Response<s3s::Body> {
    let region = error.region().map(|region| ("Region", region));
    xml(error.status(), error.code(), &error.to_string(), region, resource, request_id)
}

/// Answers a request whose head is not acceptable.
pub fn malformed(error: HeadError, resource: &str, request_id: RequestId) -> Response<s3s::Body> {
    let mut response = xml(error.status(), error.code(), &error.to_string(), None, resource, request_id);
    if matches!(error, HeadError::Method(_)) {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(ALLOWED));
    }
    response
}

/// Answers 503, with the advice to come back later.
pub fn unavailable(code: &str, message: &str, resource: &str, request_id: RequestId) -> Response<s3s::Body> {
    let mut response = xml(StatusCode::SERVICE_UNAVAILABLE, code, message, None, resource, request_id);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// Answers a request that comes before the node is open.
fn starting(progress: Option<StartProgress>, resource: &str, request_id: RequestId) -> Response<s3s::Body> {
    let share =
        progress.map(|progress| format!(", {:.0}% done", progress.share() * 100.0)).unwrap_or_default();
    let message = format!("The server is starting: it recovers its drives{share}. Please try again.");
    let mut response = unavailable("ServiceUnavailable", &message, resource, request_id);
    if let Some(progress) = progress {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(progress.retry_after_s()));
    }
    response
}

/// Answers 503 with the time after which a client that was held back may come again.
fn slow_down(held: Held, resource: &str, request_id: RequestId) -> Response<s3s::Body> {
    let mut response = unavailable("SlowDown", &held.to_string(), resource, request_id);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(held.retry_after_s()));
    response.extensions_mut().insert(held);
    response
}

fn xml(
    status: StatusCode,
    code: &str,
    message: &str,
    extra: Option<(&str, &str)>,
    resource: &str,
    request_id: RequestId,
) -> Response<s3s::Body> {
    let request_id = request_id.to_string();
    let text = XmlWriter::document("Error", None, |error| {
        let fields = [Some(("Code", code)), Some(("Message", message)), extra];
        let last = [Some(("Resource", resource)), Some(("RequestId", request_id.as_str()))];
        for (name, value) in fields.into_iter().chain(last).flatten() {
            error.text(name, printable(value));
        }
    });
    let mut response = Response::new(s3s::Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

/// Drops control characters, which XML cannot hold in any form.
fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_do_not_repeat() {
        let ids = RequestIds::new(u64::MAX - 5);
        let made: std::collections::HashSet<String> = (0..1000).map(|_| ids.next().to_string()).collect();
        assert_eq!(made.len(), 1000);
        assert!(made.iter().all(|id| id.len() == 16));
    }

    #[test]
    fn markup_and_control_characters_do_not_get_through() {
        let response = unavailable("Code", "a<b>&\"c\u{1}", "/", RequestId(1));
        let bytes = response.body().bytes().unwrap();
        let text = std::str::from_utf8(&bytes).unwrap();
        assert!(text.contains("<Message>a&lt;b&gt;&amp;&quot;c</Message>"), "{text}");
    }
}
