//! This module renders requests as bytes before they are needed.

use super::sign::{Canonical, Credentials, UNSIGNED_PAYLOAD, authorization, sha256_hex, timestamp_now};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use std::net::SocketAddr;

/// Holds a request and what its response must be.
#[derive(Clone, Debug)]
pub struct Request {
    pub bytes: Bytes,
    /// This is `None` if any body is accepted.
    pub expected_body: Option<Bytes>,
}

/// Says how the integrity of a body is ensured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Sends `UNSIGNED-PAYLOAD`, with the CRC32C of the body in a header.
    UnsignedWithCrc32c,
    /// Sends the SHA-256 of the body in `x-amz-content-sha256`.
    Signed,
}

/// Renders requests for one server and account.
#[derive(Clone, Debug)]
pub struct Renderer {
    pub address: SocketAddr,
    pub credentials: Credentials,
}

impl Renderer {
    /// Returns a signed request without a body. `path` must be percent-encoded and includes the
    /// query.
    pub fn signed(&self, method: &str, path: &str) -> Bytes {
        let payload = sha256_hex(b"");
        Bytes::from(self.head(method, path, Vec::new(), &payload, None))
    }

    /// Returns a signed PUT with an empty body: CreateBucket.
    pub fn signed_empty_put(&self, path: &str) -> Bytes {
        let payload = sha256_hex(b"");
        Bytes::from(self.head("PUT", path, Vec::new(), &payload, Some(0)))
    }

    /// Returns a GET without credentials.
    pub fn anonymous_get(&self, path: &str) -> Bytes {
        Bytes::from(format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.address))
    }

    /// Returns a signed PUT with a body.
    pub fn put(&self, path: &str, body: &[u8], payload: Payload) -> Bytes {
        self.signed_with_body("PUT", path, body, payload)
    }

    /// Returns a signed request with a body.
    pub fn signed_with_body(&self, method: &str, path: &str, body: &[u8], payload: Payload) -> Bytes {
        let (hash, headers) = match payload {
            Payload::Signed => (sha256_hex(body), Vec::new()),
            Payload::UnsignedWithCrc32c => {
                let checksum = STANDARD.encode(crc32c::crc32c(body).to_be_bytes());
                (UNSIGNED_PAYLOAD.into(), vec![("x-amz-checksum-crc32c".to_string(), checksum)])
            }
        };
        let mut bytes = self.head(method, path, headers, &hash, Some(body.len())).into_bytes();
        bytes.extend_from_slice(body);
        Bytes::from(bytes)
    }

    fn head(
        &self,
        method: &str,
        path: &str,
        mut headers: Vec<(String, String)>,
        payload: &str,
        length: Option<usize>,
    ) -> String {
        let timestamp = timestamp_now();
        headers.push(("host".into(), self.address.to_string()));
        headers.push(("x-amz-date".into(), timestamp.clone()));
        headers.push(("x-amz-content-sha256".into(), payload.to_string()));
        let canonical = Canonical { method, path, headers, payload, timestamp: &timestamp };
        let authorization = authorization(&self.credentials, &canonical);
        let mut head = format!("{method} {path} HTTP/1.1\r\nauthorization: {authorization}\r\n");
        for (name, value) in &canonical.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(length) = length {
            head.push_str(&format!("content-length: {length}\r\n"));
        }
        head.push_str("\r\n");
        head
    }
}
