//! What operators ask a server: health and metrics.
//!
//! Invariant: answers without credentials, and says nothing that needs them.

pub mod metrics;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};

/// Shadows the object `health` of a bucket `ringbolt`, should someone make one.
pub const HEALTH_PATH: &str = "/ringbolt/health";

/// 200 when the node takes requests, 503 while it starts or stops.
pub fn health(method: &Method, ready: bool) -> Response<s3s::Body> {
    let status = match ready {
        _ if method != Method::GET && method != Method::HEAD => StatusCode::METHOD_NOT_ALLOWED,
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let word = if ready { "ok" } else { "unavailable" };
    let text = serde_json::json!({ "status": word, "version": env!("CARGO_PKG_VERSION") }).to_string();
    let mut response = Response::new(s3s::Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
