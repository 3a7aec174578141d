//! This module signs requests that an SDK does not send: any method and target, additional headers,
//! another host.
//!
//! Invariant: as in [`raw_http`], each connection carries one request, and nothing is repeated. Of
//! additional headers those of S3 are signed, and others are not, as those of a proxy are not.

use crate::client::Account;
use crate::raw_http::{self, Answer};
use ringbolt_tool_common::s3::sign::{Canonical, Credentials, authorization, sha256_hex, timestamp_now};
use std::io;

/// Holds the server and the account of requests.
#[derive(Clone, Copy, Debug)]
pub struct Signer<'a> {
    /// Has the form `http://address:port`.
    pub endpoint: &'a str,
    pub account: &'a Account,
}

impl Signer<'_> {
    /// Sends a request for `target`, a path with its query, both encoded.
    pub async fn send(&self, method: &str, target: &str, headers: &str, body: &[u8]) -> io::Result<Answer> {
        let host = self.endpoint.trim_start_matches("http://");
        self.send_to_host(host, method, target, headers, body).await
    }

    /// Sends a request as [`Self::send`] does, with a Host that differs from the address.
    pub async fn send_to_host(
        &self,
        host: &str,
        method: &str,
        target: &str,
        headers: &str,
        body: &[u8],
    ) -> io::Result<Answer> {
        let (payload, timestamp) = (sha256_hex(body), timestamp_now());
        let own = [("host", host), ("x-amz-content-sha256", &payload), ("x-amz-date", &timestamp)];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let added = headers.lines().filter_map(|line| line.split_once(':'));
        let added = added.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        let mut signed = own.to_vec();
        signed.extend(added.filter(|(name, _)| name.starts_with("x-amz-")));
        signed.sort();
        let canonical =
            Canonical { method, path: target, headers: signed, payload: &payload, timestamp: &timestamp };
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
