//! The canonical request of signature version 4, with the rules of S3 (the path is encoded once).
//! Source: "Authenticating Requests (AWS Signature Version 4)" of the Amazon S3 API reference.
//!
//! Invariant: all is written into one buffer that is kept from request to request.

use http::header::{HOST, HeaderMap, HeaderValue};
use http::request::Parts;
use percent_encoding::{percent_decode, percent_encode_byte};
use std::cmp::Ordering;

/// The spelling of path and query that was signed. Signers differ where the wire allows several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// The text was signed byte for byte as it was sent.
    AsSent,
    /// The text was signed after it was decoded and encoded as the specification says.
    Encoded,
}

/// A name and a value of the query, as ranges of the buffer they were written to.
type Pair = (std::ops::Range<usize>, std::ops::Range<usize>);

/// Makes canonical requests, in buffers that are kept from request to request.
#[derive(Default)]
pub struct Canonical {
    text: Vec<u8>,
    query: Vec<u8>,
    pairs: Vec<Pair>,
}

impl Canonical {
    /// Returns the canonical request. `signed_headers` names the headers that were signed, `host`
    /// replaces the host that was sent if there is one, and `payload` is the value that stands for
    /// the body.
    pub fn request(
        &mut self,
        parts: &Parts,
        spelling: Spelling,
        (signed_headers, host): (&str, Option<&[u8]>),
        payload: &[u8],
    ) -> &[u8] {
        self.text.clear();
        self.text.extend_from_slice(parts.method.as_str().as_bytes());
        self.text.push(b'\n');
        match spelling {
            Spelling::AsSent => self.text.extend_from_slice(parts.uri.path().as_bytes()),
            Spelling::Encoded => encode_again(parts.uri.path().as_bytes(), true, &mut self.text),
        }
        self.text.push(b'\n');
        self.push_query(parts.uri.query().unwrap_or(""), spelling);
        self.text.push(b'\n');
        for name in signed_headers.split(';') {
            match host.filter(|_| name == "host") {
                Some(host) => push_pair(name, [host], &mut self.text),
                None => {
                    let values = parts.headers.get_all(name).iter().map(HeaderValue::as_bytes);
                    push_pair(name, values, &mut self.text);
                }
            }
        }
        self.text.push(b'\n');
        self.text.extend_from_slice(signed_headers.as_bytes());
        self.text.push(b'\n');
        self.text.extend_from_slice(payload);
        &self.text
    }

    fn push_query(&mut self, query: &str, spelling: Spelling) {
        self.query.clear();
        self.pairs.clear();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if percent_decode(name.as_bytes()).eq(b"X-Amz-Signature".iter().copied()) {
                continue;
            }
            let start = self.query.len();
            push_query_part(name, spelling, &mut self.query);
            let middle = self.query.len();
            push_query_part(value, spelling, &mut self.query);
            self.pairs.push((start..middle, middle..self.query.len()));
        }
        let bytes = &self.query;
        let order = |one: &Pair, other: &Pair| -> Ordering {
            bytes[one.0.clone()]
                .cmp(&bytes[other.0.clone()])
                .then(bytes[one.1.clone()].cmp(&bytes[other.1.clone()]))
        };
        self.pairs.sort_unstable_by(order);
        for (index, (name, value)) in self.pairs.iter().enumerate() {
            if index > 0 {
                self.text.push(b'&');
            }
            self.text.extend_from_slice(&bytes[name.clone()]);
            self.text.push(b'=');
            self.text.extend_from_slice(&bytes[value.clone()]);
        }
    }
}

/// Returns the spellings in which this request may have been signed.
pub fn spellings(parts: &Parts) -> &'static [Spelling] {
    let differs = |text: &str, slash_stays: bool| {
        if text.bytes().all(|byte| stays(byte, slash_stays)) {
            return false;
        }
        let mut encoded = Vec::with_capacity(text.len());
        encode_again(text.as_bytes(), slash_stays, &mut encoded);
        encoded != text.as_bytes()
    };
    let query = parts.uri.query().unwrap_or("");
    let two = differs(parts.uri.path(), true)
        || query.split(['&', '=']).any(|part| part.contains('+') || differs(part, false))
        || query.split('&').any(|pair| pair.matches('=').count() > 1);
    if two { &[Spelling::AsSent, Spelling::Encoded] } else { &[Spelling::AsSent] }
}

/// Returns the host without the port that was sent: some clients sign it so. Returns None if there
/// was no port.
pub fn host_without_port(headers: &HeaderMap) -> Option<&[u8]> {
    let host = headers.get(HOST)?.as_bytes();
    let colon = host.iter().rposition(|byte| *byte == b':')?;
    let port = &host[colon + 1..];
    (!port.is_empty() && port.iter().all(u8::is_ascii_digit)).then(|| &host[..colon])
}

fn push_query_part(part: &str, spelling: Spelling, out: &mut Vec<u8>) {
    match spelling {
        Spelling::AsSent => out.extend_from_slice(part.as_bytes()),
        // In a query a plus sign is read as a space by the handlers too.
        Spelling::Encoded => encode_again(part.replace('+', "%20").as_bytes(), false, out),
    }
}

/// Returns whether version 4 leaves this byte as it is.
fn stays(byte: u8, slash_stays: bool) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') || (slash_stays && byte == b'/')
}

/// Decodes `text` and encodes it again as version 4 wants it.
pub fn encode_again(text: &[u8], slash_stays: bool, out: &mut Vec<u8>) {
    for byte in percent_decode(text) {
        if stays(byte, slash_stays) {
            out.push(byte);
        } else {
            out.extend_from_slice(percent_encode_byte(byte).as_bytes());
        }
    }
}

/// Writes `name:value,value\n`. White space is trimmed, and a run of it becomes one space.
fn push_pair<'a>(name: &str, values: impl IntoIterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    for (index, value) in values.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_collapsed(value, out);
    }
    out.push(b'\n');
}

fn push_collapsed(value: &[u8], out: &mut Vec<u8>) {
    let value = value.trim_ascii();
    let mut in_space = false;
    for &byte in value {
        let space = byte == b' ' || byte == b'\t';
        if !space {
            out.push(byte);
        } else if !in_space {
            out.push(b' ');
        }
        in_space = space;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(request: http::Request<()>, spelling: Spelling, signed: &str) -> String {
        let (parts, ()) = request.into_parts();
        String::from_utf8(Canonical::default().request(&parts, spelling, (signed, None), b"HASH").to_vec())
            .unwrap()
    }

    #[test]
    fn query_is_sorted_by_name_then_value_and_always_has_an_equals_sign() {
        let request =
            http::Request::get("/a%20b?b=2&a-b=3&a=4&uploads&a=1&X-Amz-Signature=0").body(()).unwrap();
        let text = canonical(request, Spelling::AsSent, "host");
        assert_eq!(text, "GET\n/a%20b\na=1&a=4&a-b=3&b=2&uploads=\nhost:\n\nhost\nHASH");
    }

    #[test]
    fn header_values_are_trimmed_collapsed_and_joined() {
        let request =
            http::Request::put("/").header("x-amz-meta-a", " one   two ").header("x-amz-meta-a", "three");
        let text = canonical(request.body(()).unwrap(), Spelling::AsSent, "x-amz-meta-a");
        assert_eq!(text, "PUT\n/\n\nx-amz-meta-a:one two,three\n\nx-amz-meta-a\nHASH");
    }

    #[test]
    fn the_encoded_spelling_repairs_what_was_sent_loosely() {
        let request = || http::Request::get("/a+b(c)%7e/d?prefix=x/y&k=a+b").body(()).unwrap();
        let text = canonical(request(), Spelling::Encoded, "host");
        assert!(text.starts_with("GET\n/a%2Bb%28c%29~/d\nk=a%20b&prefix=x%2Fy\n"), "{text}");
        assert_eq!(spellings(&request().into_parts().0), [Spelling::AsSent, Spelling::Encoded]);
        let plain = http::Request::get("/bucket/a%20b~c?list-type=2&prefix=x%2Fy").body(()).unwrap();
        assert_eq!(spellings(&plain.into_parts().0), [Spelling::AsSent]);
    }
}
