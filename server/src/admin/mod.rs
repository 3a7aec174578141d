//! What operators ask a server, on listeners of its own: health and metrics. No bucket's names are ever shadowed.
//!
//! Invariants: health and metrics are told without credentials, and say nothing that needs them: no name of a bucket,
//! key or account. They need no memory of requests and no place among the connections of clients, so that they are told
//! when things are bad.
//! Deliberately absent: anything that changes the node. [`answer`] is where a later command asks its [`Peer`] for more.

pub mod listener;
pub mod metrics;
mod socket;

pub use self::listener::{AdminListeners, serve};
pub use self::socket::{AdminSocket, AdminSocketError};

use crate::http::{Front, Handler};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};

pub const HEALTH_PATH: &str = "/ringbolt/health";
pub const METRICS_PATH: &str = "/ringbolt/metrics";

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP: anybody who reaches the address. What names or changes anything needs the root key's signature.
    Address,
    /// Through the socket in the data directory: the user that the server runs as, or root.
    Socket,
}

/// The answer to one request. Each route says here what it asks of its peer; those of today ask nothing.
pub async fn answer<H: Handler>(
    front: &Front<H>,
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
        HEALTH_PATH => health(front.handler.get().is_some() && !front.stop.said()),
        METRICS_PATH => {
            let (node, requests) = match front.handler.get() {
                Some(handler) => (handler.metrics().await, handler.requests()),
                None => (None, Vec::new()),
            };
            metrics::answer(node.as_ref(), &front.traffic.sum(), &requests)
        }
        _ => status(StatusCode::NOT_FOUND),
    }
}

fn status(status: StatusCode) -> Response<s3s::Body> {
    let mut response = Response::new(s3s::Body::empty());
    *response.status_mut() = status;
    response
}

/// 200 when the node takes requests, 503 while it starts or stops.
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
