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

use crate::http::{Handler, HttpServer};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};

/// The path that tells whether the node takes requests.
pub const HEALTH_PATH: &str = "/ringbolt/health";
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
        HEALTH_PATH | METRICS_PATH if !reads => {
            let mut response = status(StatusCode::METHOD_NOT_ALLOWED);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
        HEALTH_PATH => health(server.handler.get().is_some() && !server.shutdown.is_requested()),
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
    let text = serde_json::json!({ "status": word, "version": env!("CARGO_PKG_VERSION") }).to_string();
    let mut response = Response::new(s3s::Body::from(text));
    *response.status_mut() = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
