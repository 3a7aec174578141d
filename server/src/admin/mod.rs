//! What operators ask a server, on listeners of its own: health, metrics and commands. So their paths
//! hide no bucket.
//!
//! Invariants:
//! - Health and metrics are told without credentials, and say nothing that needs them: no name of a
//!   bucket, key or account.
//! - Health and metrics need no memory of requests and no place among the connections of clients, so that they
//!   are told when the server is overloaded.
//! - A command names buckets and changes them, so it demands more of its [`Peer`] ([`command`]).

pub mod command;
pub mod listener;
pub mod metrics;
mod socket;

pub use self::listener::{AdminListeners, serve};
pub use self::socket::{AdminSocket, AdminSocketError};

use crate::http::{Handler, HttpServer, StartProgress};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Method, Response, StatusCode};

/// The path that tells whether the node takes requests.
pub const HEALTH_PATH: &str = "/ringbolt/health";
/// The path that tells whether the node takes requests, and how far its start is while it does not.
pub const READY_PATH: &str = "/readyz";
/// The path that tells that the process runs.
pub const ALIVE_PATH: &str = "/livez";
/// The path of the metrics, in the text format of Prometheus.
pub const METRICS_PATH: &str = "/ringbolt/metrics";

/// How a request of an operator reached the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// It came over TCP, from anybody who reaches the address. A command demands the root key's
    /// signature of such a peer.
    Address,
    /// It came through the socket in the data directory, so from the user that the server runs as,
    /// or from root.
    Socket,
}

/// Answers a request that is no command. These routes demand nothing of their peer.
pub async fn answer<H: Handler>(
    server: &HttpServer<H>,
    peer: Peer,
    method: &Method,
    path: &str,
) -> Response<s3s::Body> {
    tracing::debug!(?peer, %method, path, "admin request");
    let reads = method == Method::GET || method == Method::HEAD;
    match path {
        HEALTH_PATH | READY_PATH | ALIVE_PATH | METRICS_PATH if !reads => {
            let mut response = status(StatusCode::METHOD_NOT_ALLOWED);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
        HEALTH_PATH => health(server.handler.get().is_some() && !server.shutdown.is_requested()),
        READY_PATH => readiness(server),
        ALIVE_PATH => told(StatusCode::OK, &serde_json::json!({ "status": "alive" })),
        METRICS_PATH => {
            let (node, requests) = match server.handler.get() {
                Some(handler) => (handler.metrics().await, handler.requests()),
                None => (None, Vec::new()),
            };
            metrics::answer(node.as_ref(), &server.traffic.sum(), &requests)
        }
        _ => status(StatusCode::NOT_FOUND),
    }
}

fn status(status: StatusCode) -> Response<s3s::Body> {
    let mut response = Response::new(s3s::Body::empty());
    *response.status_mut() = status;
    response
}

/// Answers 200 when the node takes requests, and 503 while it starts or stops.
fn health(ready: bool) -> Response<s3s::Body> {
    let word = if ready { "ok" } else { "unavailable" };
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    told(status, &serde_json::json!({ "status": word, "version": env!("CARGO_PKG_VERSION") }))
}

/// Answers 200 when the node takes requests, and else 503 with what it does, how far that is and when it
/// will be ready.
fn readiness<H: Handler>(server: &HttpServer<H>) -> Response<s3s::Body> {
    let (is_open, is_stopping) = (server.handler.get().is_some(), server.shutdown.is_requested());
    if is_open && !is_stopping {
        return told(StatusCode::OK, &serde_json::json!({ "status": "ready" }));
    }
    let Some(start) = server.start.as_ref().filter(|_| !is_stopping) else {
        let word = if is_stopping { "stopping" } else { "starting" };
        return told(StatusCode::SERVICE_UNAVAILABLE, &serde_json::json!({ "status": word }));
    };
    let progress = start.progress();
    let mut response = told(StatusCode::SERVICE_UNAVAILABLE, &recovering(&progress));
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(progress.retry_after_s()));
    response
}

fn recovering(progress: &StartProgress) -> serde_json::Value {
    let StartProgress { opening, seconds } = progress;
    serde_json::json!({
        "status": "recovering",
        "shards": opening.shards,
        "shards_recovered": opening.recovered,
        "bytes": opening.bytes,
        "bytes_read": opening.read_bytes,
        "percent": (progress.share() * 1000.0).round() / 10.0,
        "seconds": (seconds * 10.0).round() / 10.0,
        "ready_in_seconds": progress.ready_in_s().map(f64::ceil),
    })
}

fn told(status: StatusCode, value: &serde_json::Value) -> Response<s3s::Body> {
    let mut response = Response::new(s3s::Body::from(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
