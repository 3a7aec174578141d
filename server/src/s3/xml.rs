//! Corrections to the XML of an answer, after s3s wrote it.
//!
//! Invariant: only XML is touched, never the bytes of an object, which [`StoredBytes`] marks.

use http::header::CONTENT_LENGTH;
use s3s::Body;
use std::fmt::Write as _;

/// On an answer whose body is an object's.
#[derive(Clone, Copy, Debug)]
pub struct StoredBytes;

/// Changes the XML of an answer that is complete in memory, as all short ones are. None: as it is.
pub fn rewrite(response: &mut http::Response<Body>, change: impl FnOnce(&str) -> Option<String>) {
    if response.extensions().get::<StoredBytes>().is_some() {
        return;
    }
    let Some(bytes) = response.body().bytes() else { return };
    let Ok(xml) = std::str::from_utf8(&bytes) else { return };
    if xml.is_empty() {
        return;
    }
    let Some(changed) = change(xml) else { return };
    response.headers_mut().remove(CONTENT_LENGTH);
    *response.body_mut() = Body::from(changed);
}

/// Names hold any character. A carriage return must be written as a reference, or readers take it for
/// a line feed; what XML 1.0 can not hold at all is written as a reference too, as S3 does it: clients
/// whose parser refuses that ask for `encoding-type=url`.
pub fn write_references(xml: &str) -> Option<String> {
    let needs = |letter: char| matches!(letter, '\0'..='\x08' | '\x0b'..='\x1f' | '\u{fffe}' | '\u{ffff}');
    // Most answers have neither control characters nor any that begin like U+FFFE.
    if !xml.bytes().any(|byte| matches!(byte, 0..=0x08 | 0x0b..=0x1f | 0xef)) || !xml.contains(needs) {
        return None;
    }
    let mut text = String::with_capacity(xml.len() + 64);
    for letter in xml.chars() {
        match needs(letter) {
            // Writing to a string can not fail.
            true => drop(write!(text, "&#{};", u32::from(letter))),
            false => text.push(letter),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_readers_would_change_or_refuse_becomes_a_reference() {
        assert_eq!(write_references("<Key>a\tb\nc\u{feff}\u{fffd}</Key>"), None);
        assert_eq!(
            write_references("<Key>a\rb\u{1}\u{ffff}\u{e9}</Key>").as_deref(),
            Some("<Key>a&#13;b&#1;&#65535;\u{e9}</Key>")
        );
    }

    #[test]
    fn objects_are_left_alone() {
        let mut response = http::Response::new(Body::from("a\rb".to_owned()));
        let body = |response: &http::Response<Body>| response.body().bytes().map(|bytes| bytes.to_vec());
        response.extensions_mut().insert(StoredBytes);
        rewrite(&mut response, write_references);
        assert_eq!(body(&response).as_deref(), Some(b"a\rb".as_slice()));
        response.extensions_mut().clear();
        rewrite(&mut response, write_references);
        assert_eq!(body(&response).as_deref(), Some(b"a&#13;b".as_slice()));
    }
}
