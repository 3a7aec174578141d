//! Requests signed here, for what an SDK does not send: any method and target, headers of the test's own, another host.
//!
//! Invariant: as [`raw_http`]: one request a connection, and nothing is repeated. Headers of the test's own are not
//! signed, as those of a proxy are not.

use crate::client::Account;
use crate::raw_http::{self, Answer};
use ringbolt_tool_common::s3::sign::{Canonical, Credentials, authorization, sha256_hex, timestamp_now};
use std::io;

/// Who asks which server.
#[derive(Clone, Copy, Debug)]
pub struct Signer<'a> {
    /// `http://address:port`
    pub endpoint: &'a str,
    pub account: &'a Account,
}

impl Signer<'_> {
    /// Sends a request for `target`, a path with its query, both encoded.
    pub async fn send(&self, method: &str, target: &str, headers: &str, body: &[u8]) -> io::Result<Answer> {
        let host = self.endpoint.trim_start_matches("http://");
        self.send_to_host(host, method, target, headers, body).await
    }

    /// As [`Self::send`], with a Host that is not where the request goes.
    pub async fn send_to_host(
        &self,
        host: &str,
        method: &str,
        target: &str,
        headers: &str,
        body: &[u8],
    ) -> io::Result<Answer> {
        let (payload, timestamp) = (sha256_hex(body), timestamp_now());
        let signed = [("host", host), ("x-amz-content-sha256", &payload), ("x-amz-date", &timestamp)];
        let canonical = Canonical {
            method,
            path: target,
            headers: signed.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            payload: &payload,
            timestamp: &timestamp,
        };
        let credentials = Credentials {
            access_key: self.account.access_key.to_owned(),
            secret_key: self.account.secret_key.to_owned(),
            region: "us-east-1".to_owned(),
        };
        let head = format!(
            "x-amz-content-sha256: {payload}\r\nx-amz-date: {timestamp}\r\nAuthorization: {}\r\n{headers}",
            authorization(&credentials, &canonical)
        );
        raw_http::request_to_host(method, &format!("{}{target}", self.endpoint), host, &head, body).await
    }
}
