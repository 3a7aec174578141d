//! The XML of answers, where s3s cannot write it, or writes less than S3 does.
//!
//! s3s knows half of the checksums, leaves out some of what an error says, and takes long for a
//! listing. A handler whose answer it would not write well hands the document that it wrote itself
//! over as [`XmlAnswer`], beside the empty answer that s3s writes headers for; [`rewrite`] corrects
//! what s3s wrote.
//!
//! Invariants: only XML is touched, never the bytes of an object, which [`StoredBytes`] marks. An
//! [`XmlAnswer`] is complete: nothing of it is rewritten.

use super::headers::{LAST_TIME_S, stored_checksum};
use crate::checksum::PartChecksum;
use crate::xml::XmlWriter;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use ringbolt_engine::types::{Attributes, Etag, PartInfo};
use s3s::Body;
use time::OffsetDateTime;

/// The last millisecond of the year 9999.
const LAST_TIME_MS: u64 = LAST_TIME_S * 1000 + 999;
const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// Marks an answer, in its extensions, whose body is that of an object.
#[derive(Clone, Copy, Debug)]
pub struct StoredBytes;

/// The document that is the body of an answer. It travels in the answer's extensions.
#[derive(Clone, Debug)]
pub struct XmlAnswer(String);

impl XmlAnswer {
    /// Writes a document of S3: `root` with what `content` writes into it.
    pub fn document(root: &str, content: impl FnOnce(&mut XmlWriter)) -> Self {
        Self(XmlWriter::document(root, Some(NAMESPACE), content))
    }

    /// Makes this the body of an answer, in the place of what s3s wrote, or of nothing.
    pub fn replace(self, response: &mut http::Response<Body>) {
        response.headers_mut().remove(CONTENT_LENGTH);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        *response.body_mut() = Body::from(self.0);
    }
}

#[cfg(any(test, feature = "internals"))]
impl XmlAnswer {
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// Elements that several answers have.
impl XmlWriter {
    /// Writes an ETag, in quotes.
    pub fn etag(&mut self, etag: Etag) {
        self.raw("<ETag>&quot;");
        self.plain(etag);
        self.raw("&quot;</ETag>");
    }

    /// Writes a time of the engine, in Unix milliseconds, as ISO 8601. Times after the year 9999,
    /// which have no such form, become its last millisecond.
    pub fn time(&mut self, name: &str, unix_ms: u64) {
        self.element(name, |element| {
            element.raw(std::str::from_utf8(&iso_8601(unix_ms)).unwrap_or_default())
        });
    }

    /// Writes the checksum of a part, under the name of its algorithm.
    pub fn part_checksum(&mut self, part: &PartInfo) {
        if let Some(checksum) = PartChecksum::stored(&part.checksum) {
            self.text(checksum.algorithm.element(), checksum.text());
        }
    }

    /// Writes the checksum among `attributes`, under the name of its algorithm.
    pub fn checksum(&mut self, attributes: &Attributes) {
        if let Some((algorithm, value)) = stored_checksum(attributes) {
            self.text(algorithm.element(), value);
        }
    }
}

/// Returns a time in Unix milliseconds as ISO 8601, digit by digit: a page of a listing has a
/// thousand of them, and formatting by a description takes several times as long.
pub fn iso_8601(unix_ms: u64) -> [u8; 24] {
    let unix_ms = unix_ms.min(LAST_TIME_MS);
    let time = OffsetDateTime::from_unix_timestamp((unix_ms / 1000) as i64);
    let time = time.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, milliseconds) = (time.year() as u16, (unix_ms % 1000) as u16);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let mut put = |at: usize, number: u8| {
        text[at..at + 2].copy_from_slice(&[b'0' + number / 10, b'0' + number % 10]);
    };
    put(0, (year / 100) as u8);
    put(2, (year % 100) as u8);
    put(5, time.month().into());
    put(8, time.day());
    put(11, time.hour());
    put(14, time.minute());
    put(17, time.second());
    put(20, (milliseconds / 10) as u8);
    text[22] = b'0' + (milliseconds % 10) as u8;
    text
}

/// Changes the XML of an answer that is complete in memory, as all short ones are. `change` returns
/// None for a document that stays as it is.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::write_references;

    #[test]
    fn etags_checksums_and_times_are_written_as_s3_does() {
        let written = XmlAnswer::document("R", |root| {
            root.etag(Etag { md5: [0xab; 16], parts: 2 });
            root.checksum(&vec![("x-amz-checksum-xxhash3".to_owned(), "ctyxi2eheH8=".to_owned())]);
        });
        let content = "<ETag>&quot;abababababababababababababababab-2&quot;</ETag>\
                       <ChecksumXXHASH3>ctyxi2eheH8=</ChecksumXXHASH3>";
        assert!(written.text().ends_with(&format!("<R xmlns=\"{NAMESPACE}\">{content}</R>")));
        let of = |unix_ms| XmlAnswer::document("R", |root| root.time("T", unix_ms)).0;
        assert!(of(1_234_567_890_123).contains("<T>2009-02-13T23:31:30.123Z</T>"));
        assert!(of(u64::MAX).contains("<T>9999-12-31T23:59:59"));
    }

    #[test]
    fn it_takes_the_place_of_an_empty_body_too() {
        let mut response = http::Response::new(Body::empty());
        XmlAnswer::document("R", |_| {}).replace(&mut response);
        assert!(response.body().bytes().is_some_and(|bytes| bytes.ends_with(b"</R>")));
        assert_eq!(response.headers()[CONTENT_TYPE], "application/xml");
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
