//! This module computes signature version 4 in the authorization header, as a client does.
//!
//! Source: "Authenticating Requests: Using the Authorization Header" in the Amazon S3 API
//! reference.

use aws_lc_rs::{digest, hmac};
use std::time::{SystemTime, UNIX_EPOCH};

/// Replaces the hash of a body that is not signed.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// Holds the credentials of a client and the region they are used in.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub access_key: String,
    pub secret_key: String,
    pub region: String,
}

/// Holds what is signed. Header names are in lower case and include `host`, `x-amz-date` and
/// `x-amz-content-sha256`.
#[derive(Clone, Debug)]
pub struct Canonical<'a> {
    pub method: &'a str,
    /// This is percent-encoded and includes the query, if there is one.
    pub path: &'a str,
    pub headers: Vec<(String, String)>,
    /// This is the SHA-256 of the body in hex, or [`UNSIGNED_PAYLOAD`].
    pub payload: &'a str,
    /// Has the form `20130524T000000Z`.
    pub timestamp: &'a str,
}

/// Returns the SHA-256 in hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hmac_sha256(key: &[u8], message: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes())
}

/// Returns the value of the `Authorization` header.
pub fn authorization(credentials: &Credentials, request: &Canonical<'_>) -> String {
    let mut headers = request.headers.clone();
    headers.sort();
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(";");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let (path, query) = request.path.split_once('?').unwrap_or((request.path, ""));
    let (method, query) = (request.method, canonical_query(query));
    let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{}", request.payload);
    let day = &request.timestamp[..8];
    let scope = format!("{day}/{}/s3/aws4_request", credentials.region);
    let message =
        format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", request.timestamp, sha256_hex(canonical.as_bytes()));
    let mut key = hmac_sha256(format!("AWS4{}", credentials.secret_key).as_bytes(), day);
    for part in [credentials.region.as_str(), "s3", "aws4_request"] {
        key = hmac_sha256(key.as_ref(), part);
    }
    let signature = hex(hmac_sha256(key.as_ref(), &message).as_ref());
    format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={names},Signature={signature}",
        credentials.access_key
    )
}

/// Sorts the parameters by name and gives each its `=`.
fn canonical_query(query: &str) -> String {
    let named = |part: &str| if part.contains('=') { part.to_owned() } else { format!("{part}=") };
    let mut parts: Vec<String> = query.split('&').filter(|part| !part.is_empty()).map(named).collect();
    parts.sort();
    parts.join("&")
}

/// Returns the current time in the form of `x-amz-date`.
pub fn timestamp_now() -> String {
    timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// Formats a time in the form of `x-amz-date`.
pub fn timestamp(unix_s: u64) -> String {
    let (mut days, second) = (unix_s / 86_400, unix_s % 86_400);
    let mut year = 1970;
    let leap = |year: u64| (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{:02}{:02}T{hour:02}{minute:02}{second:02}Z", month + 1, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This is the first example of the reference: GET of an object with a range.
    #[test]
    fn signs_as_the_reference_does() {
        let credentials = Credentials {
            access_key: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            region: "us-east-1".into(),
        };
        let payload = sha256_hex(b"");
        let header = |name: &str, value: &str| (name.to_string(), value.to_string());
        let request = Canonical {
            method: "GET",
            path: "/test.txt",
            headers: vec![
                header("host", "examplebucket.s3.amazonaws.com"),
                header("range", "bytes=0-9"),
                header("x-amz-content-sha256", &payload),
                header("x-amz-date", "20130524T000000Z"),
            ],
            payload: &payload,
            timestamp: "20130524T000000Z",
        };
        let expected = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
        assert!(authorization(&credentials, &request).ends_with(&format!("Signature={expected}")));
    }

    #[test]
    fn a_query_is_signed_in_the_order_of_its_names() {
        assert_eq!(canonical_query("uploadId=7&partNumber=1"), "partNumber=1&uploadId=7");
        assert_eq!((canonical_query("uploads"), canonical_query("")), ("uploads=".into(), String::new()));
    }

    #[test]
    fn timestamps_follow_the_calendar() {
        assert_eq!(timestamp(0), "19700101T000000Z");
        assert_eq!(timestamp(951_782_400), "20000229T000000Z");
        assert_eq!(timestamp(1_369_353_599), "20130523T235959Z");
        assert_eq!(timestamp(1_735_689_599), "20241231T235959Z");
    }
}
