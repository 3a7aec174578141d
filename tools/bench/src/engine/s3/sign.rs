//! This module writes signed requests into a buffer that is reused.
//!
//! It computes signature version 4 as [`ringbolt_tool_common::s3::sign`] does, but keeps what does not change
//! between requests: the signing key of the day, the scope, and the time within a second.

use aws_lc_rs::{digest, hmac};
use ringbolt_tool_common::s3::sign::{Credentials, UNSIGNED_PAYLOAD, timestamp};
use std::time::{SystemTime, UNIX_EPOCH};

const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Describes a request without the credentials.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub method: &'static str,
    /// This is percent-encoded.
    pub path: &'a [u8],
    /// This is percent-encoded; parameters are sorted by name and each has its `=`.
    pub query: &'a [u8],
    /// This is the value of `x-amz-copy-source`.
    pub copy_source: Option<&'a [u8]>,
    /// This is the length of the body; `None` if there is no body.
    pub body_bytes: Option<u64>,
    /// This is the first and last byte of the requested range, which is not signed.
    pub range: Option<(u64, u64)>,
}

pub struct Signer {
    credentials: Credentials,
    host: String,
    second: u64,
    timestamp: String,
    scope: String,
    key: hmac::Key,
    scratch: Vec<u8>,
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message)
}

fn push_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

fn push_decimal(number: u64, out: &mut Vec<u8>) {
    if number >= 10 {
        push_decimal(number / 10, out);
    }
    out.push(b'0' + (number % 10) as u8);
}

fn push_all(pieces: &[&[u8]], out: &mut Vec<u8>) {
    for piece in pieces {
        out.extend_from_slice(piece);
    }
}

impl Signer {
    /// Creates a signer; `host` is the Host header of the requests.
    pub fn new(credentials: Credentials, host: String) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[]);
        let (timestamp, scope) = (String::new(), String::new());
        Self { credentials, host, second: u64::MAX, timestamp, scope, key, scratch: Vec::new() }
    }

    /// Replaces `out` by the head of a request signed now.
    pub fn render(&mut self, ask: &Ask<'_>, out: &mut Vec<u8>) {
        self.render_at(
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            ask,
            out,
        );
    }

    fn render_at(&mut self, unix_s: u64, ask: &Ask<'_>, out: &mut Vec<u8>) {
        self.set_time(unix_s);
        let (payload, names) = (payload_of(ask).as_bytes(), signed_names(ask));
        let signature = self.signature(ask, payload, names);
        out.clear();
        push_all(&[ask.method.as_bytes(), b" ", ask.path], out);
        if !ask.query.is_empty() {
            push_all(&[b"?", ask.query], out);
        }
        push_all(&[b" HTTP/1.1\r\nhost: ", self.host.as_bytes()], out);
        push_all(&[b"\r\nx-amz-content-sha256: ", payload], out);
        push_all(&[b"\r\nx-amz-date: ", self.timestamp.as_bytes()], out);
        if let Some(source) = ask.copy_source {
            push_all(&[b"\r\nx-amz-copy-source: ", source], out);
        }
        push_all(
            &[
                b"\r\nauthorization: AWS4-HMAC-SHA256 Credential=",
                self.credentials.access_key.as_bytes(),
                b"/",
                self.scope.as_bytes(),
                b",SignedHeaders=",
                names,
                b",Signature=",
            ],
            out,
        );
        push_hex(signature.as_ref(), out);
        if let Some(length) = ask.body_bytes {
            out.extend_from_slice(b"\r\ncontent-length: ");
            push_decimal(length, out);
        }
        if let Some((first, last)) = ask.range {
            out.extend_from_slice(b"\r\nrange: bytes=");
            push_decimal(first, out);
            out.push(b'-');
            push_decimal(last, out);
        }
        out.extend_from_slice(b"\r\n\r\n");
    }

    fn set_time(&mut self, unix_s: u64) {
        if unix_s == self.second {
            return;
        }
        let earlier_day = self.timestamp.get(..8).map(str::to_owned);
        self.second = unix_s;
        self.timestamp = timestamp(unix_s);
        let day = &self.timestamp[..8];
        if earlier_day.as_deref() == Some(day) {
            return;
        }
        let region = &self.credentials.region;
        let mut key = hmac_sha256(format!("AWS4{}", self.credentials.secret_key).as_bytes(), day.as_bytes());
        for part in [region.as_str(), "s3", "aws4_request"] {
            key = hmac_sha256(key.as_ref(), part.as_bytes());
        }
        self.key = hmac::Key::new(hmac::HMAC_SHA256, key.as_ref());
        self.scope = format!("{day}/{region}/s3/aws4_request");
    }

    fn signature(&mut self, ask: &Ask<'_>, payload: &[u8], names: &[u8]) -> hmac::Tag {
        let canonical = &mut self.scratch;
        canonical.clear();
        push_all(&[ask.method.as_bytes(), b"\n", ask.path, b"\n", ask.query, b"\n"], canonical);
        push_all(&[b"host:", self.host.as_bytes(), b"\nx-amz-content-sha256:", payload, b"\n"], canonical);
        if let Some(source) = ask.copy_source {
            push_all(&[b"x-amz-copy-source:", source, b"\n"], canonical);
        }
        push_all(&[b"x-amz-date:", self.timestamp.as_bytes(), b"\n\n", names, b"\n", payload], canonical);
        let hash = digest::digest(&digest::SHA256, canonical);
        let message = canonical;
        message.clear();
        push_all(
            &[b"AWS4-HMAC-SHA256\n", self.timestamp.as_bytes(), b"\n", self.scope.as_bytes(), b"\n"],
            message,
        );
        push_hex(hash.as_ref(), message);
        hmac::sign(&self.key, message)
    }
}

/// Returns what stands for the body in the signature. A body is not hashed: on one connection, TCP
/// and the server's own checksum protect it, and the hash would cost the client more than all the
/// rest.
fn payload_of(ask: &Ask<'_>) -> &'static str {
    if ask.body_bytes.unwrap_or(0) > 0 { UNSIGNED_PAYLOAD } else { EMPTY_SHA256 }
}

fn signed_names(ask: &Ask<'_>) -> &'static [u8] {
    if ask.copy_source.is_some() {
        b"host;x-amz-content-sha256;x-amz-copy-source;x-amz-date"
    } else {
        b"host;x-amz-content-sha256;x-amz-date"
    }
}

/// Appends `text` encoded for a path or a query: all characters except the unreserved ones are
/// percent-encoded.
pub fn push_encoded(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            out.push(*byte);
        } else {
            out.push(b'%');
            out.extend_from_slice(format!("{byte:02X}").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringbolt_tool_common::s3::sign::{Canonical, authorization};

    fn credentials() -> Credentials {
        Credentials { access_key: "KEY".into(), secret_key: "SECRET".into(), region: "eu-central-1".into() }
    }

    /// Computes the signature by the slow, straightforward code, which is tested against the
    /// reference's example.
    fn expected(ask: &Ask<'_>, time: &str) -> String {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut path = text(ask.path);
        if !ask.query.is_empty() {
            path = format!("{path}?{}", text(ask.query));
        }
        let payload = payload_of(ask);
        let mut headers = vec![
            ("host".to_owned(), "host:9000".to_owned()),
            ("x-amz-date".to_owned(), time.to_owned()),
            ("x-amz-content-sha256".to_owned(), payload.to_owned()),
        ];
        if let Some(source) = ask.copy_source {
            headers.push(("x-amz-copy-source".to_owned(), text(source)));
        }
        let request = Canonical { method: ask.method, path: &path, headers, payload, timestamp: time };
        authorization(&credentials(), &request)
    }

    #[test]
    fn signs_as_the_plain_code_does_over_days() {
        let get = Ask {
            method: "GET",
            path: b"/b/k",
            query: b"",
            copy_source: None,
            body_bytes: None,
            range: None,
        };
        let asks = [
            get,
            Ask { method: "PUT", body_bytes: Some(4096), ..get },
            Ask { method: "PUT", body_bytes: Some(0), copy_source: Some(b"/b/other"), ..get },
            Ask { path: b"/b", query: b"list-type=2&max-keys=1000&prefix=4096%2F", ..get },
        ];
        let mut signer = Signer::new(credentials(), "host:9000".into());
        let mut out = Vec::new();
        for (unix_s, time) in [(1_369_353_599, "20130523T235959Z"), (1_369_353_600, "20130524T000000Z")] {
            for ask in &asks {
                signer.render_at(unix_s, ask, &mut out);
                let head = String::from_utf8(out.clone()).unwrap();
                let line = head.lines().find_map(|line| line.strip_prefix("authorization: ")).unwrap();
                assert_eq!(line, expected(ask, time), "{ask:?}");
                assert!(head.ends_with("\r\n\r\n") && head.contains(&format!("x-amz-date: {time}\r\n")));
            }
        }
    }

    #[test]
    fn a_length_is_written_for_a_body_and_for_an_empty_one() {
        let mut signer = Signer::new(credentials(), "h".into());
        let mut out = Vec::new();
        let ask = Ask {
            method: "PUT",
            path: b"/b",
            query: b"",
            copy_source: None,
            body_bytes: Some(0),
            range: None,
        };
        signer.render(&ask, &mut out);
        assert!(String::from_utf8(out.clone()).unwrap().contains("content-length: 0\r\n"));
        signer.render(&Ask { body_bytes: Some(1_234_567), ..ask }, &mut out);
        assert!(String::from_utf8(out.clone()).unwrap().contains("content-length: 1234567\r\n"));
        signer.render(&Ask { range: Some((4096, 8191)), ..ask }, &mut out);
        assert!(String::from_utf8(out).unwrap().contains("range: bytes=4096-8191\r\n"));
    }

    #[test]
    fn what_is_not_plain_is_encoded() {
        let mut out = Vec::new();
        push_encoded(b"a/b+c~\xff", &mut out);
        assert_eq!(out, b"a%2Fb%2Bc~%FF");
    }
}
