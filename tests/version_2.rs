//! This module computes signature version 2 for clients that know no other; the SDK of the tests
//! does not support it.

use crate::client::Account;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ringbolt_tool_common::s3::sign::timestamp_now;
use std::time::{SystemTime, UNIX_EPOCH};

/// This is a request to sign.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    pub method: &'a str,
    /// This is the path with the subresources that are signed.
    pub resource: &'a str,
    /// This is the part of the query that is not signed.
    pub rest: &'a str,
    /// Has lower-case names in ascending order.
    pub headers: &'a [(&'a str, &'a str)],
    /// This is the Unix time until which a presigned address is valid, whose headers are in its
    /// query; `None` signs in the header.
    pub expires: Option<u64>,
}

pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Returns the HMAC-SHA-1 in base64 of a string to sign, or of a form's policy.
pub fn signature(secret_key: &str, text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret_key.as_bytes());
    BASE64.encode(hmac::sign(&key, text.as_bytes()))
}

pub fn base64_of(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// Encodes all characters except those that RFC 3986 calls unreserved.
pub fn encode(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes()
        .map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

impl<'a> Signed<'a> {
    /// Returns a GET of the service, to be modified.
    pub fn get(expires: Option<u64>) -> Self {
        Self { method: "GET", resource: "/", rest: "", headers: &[], expires }
    }

    /// Returns the URL and header lines, signed by `account`.
    pub fn request(&self, endpoint: &str, account: &Account) -> (String, String) {
        let date = timestamp_now();
        let mut headers = self.headers.to_vec();
        if self.expires.is_none() {
            headers.push(("x-amz-date", &date));
        }
        headers.sort_unstable();
        let plain =
            |wanted: &str| headers.iter().find(|(name, _)| *name == wanted).map_or("", |(_, value)| *value);
        let amz = headers.iter().filter(|(name, _)| name.starts_with("x-amz-"));
        let amz: String = amz.map(|(name, value)| format!("{name}:{value}\n")).collect();
        let when = self.expires.map_or(String::new(), |expires| expires.to_string());
        let (md5, kind) = (plain("content-md5"), plain("content-type"));
        let text = format!("{}\n{md5}\n{kind}\n{when}\n{amz}{}", self.method, self.resource);
        let signature = signature(account.secret_key, &text);
        let mut query: Vec<String> =
            Some(self.rest.to_owned()).into_iter().filter(|rest| !rest.is_empty()).collect();
        let mut lines = String::new();
        if self.expires.is_some() {
            query.extend(headers.iter().map(|(name, value)| format!("{name}={}", encode(value))));
            let (key, signature) = (account.access_key, encode(&signature));
            query.push(format!("AWSAccessKeyId={key}&Signature={signature}&Expires={when}"));
        } else {
            lines.extend(headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")));
            lines.push_str(&format!("Authorization: AWS {}:{signature}\r\n", account.access_key));
        }
        let joint = match (query.is_empty(), self.resource.contains('?')) {
            (true, _) => "",
            (false, true) => "&",
            (false, false) => "?",
        };
        (format!("{endpoint}{}{joint}{}", self.resource, query.join("&")), lines)
    }
}
