//! The XML of answers that s3s cannot write: those with checksums, of which it knows half.
//!
//! Invariants: elements are closed in the order they were opened, by [`XmlWriter::element`]; text is escaped, and what
//! XML 1.0 cannot hold is left for [`super::xml::write_references`]. A handler hands what it [`wrote`](Written) over
//! beside the empty answer that s3s writes headers for.

use super::bucket::timestamp;
use super::headers::{LAST_TIME_S, stored_checksum};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use ringbolt_engine::types::{Attributes, Etag};
use s3s::Body;
use s3s::dto::TimestampFormat;
use std::fmt::{Display, Write as _};

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
const LAST_TIME_MS: u64 = LAST_TIME_S * 1000;
const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// In the extensions of an answer: the document that is its body.
#[derive(Clone, Debug)]
pub struct Written(pub(super) String);

impl Written {
    /// Makes this the body of an answer, in the place of what s3s wrote, or of nothing.
    pub fn replace(self, response: &mut http::Response<Body>) {
        response.headers_mut().remove(CONTENT_LENGTH);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        *response.body_mut() = Body::from(self.0);
    }
}

/// Writes one document.
pub struct XmlWriter(String);

impl XmlWriter {
    /// A whole document: `root` with what `content` writes into it.
    pub fn document(root: &str, content: impl FnOnce(&mut Self)) -> Written {
        let mut writer = Self(format!("{DECLARATION}<{root} xmlns=\"{NAMESPACE}\">"));
        content(&mut writer);
        writer.close(root);
        Written(writer.0)
    }

    pub fn element(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.open(name);
        content(self);
        self.close(name);
    }

    pub fn text(&mut self, name: &str, value: impl Display) {
        self.open(name);
        // Writing to a string cannot fail.
        let _ = write!(Escaping(&mut self.0), "{value}");
        self.close(name);
    }

    /// Nothing, when there is no value.
    pub fn optional(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// In quotes.
    pub fn etag(&mut self, etag: Etag) {
        self.text("ETag", format_args!("\"{etag}\""));
    }

    /// A time of the engine. What comes after the year 9999 has no such form.
    pub fn time(&mut self, name: &str, unix_ms: u64) {
        let time = timestamp(unix_ms.min(LAST_TIME_MS));
        let mut text = Vec::new();
        if time.format(TimestampFormat::DateTime, &mut text).is_ok() {
            self.text(name, String::from_utf8_lossy(&text));
        }
    }

    /// The checksum among `attributes`, under the name of its algorithm.
    pub fn checksum(&mut self, attributes: &Attributes) {
        if let Some((algorithm, value)) = stored_checksum(attributes) {
            self.text(algorithm.element(), value);
        }
    }

    fn open(&mut self, name: &str) {
        self.0.extend(["<", name, ">"]);
    }

    fn close(&mut self, name: &str) {
        self.0.extend(["</", name, ">"]);
    }
}

/// Text as a document holds it.
pub fn escaped(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    // Writing to a string cannot fail.
    let _ = Escaping(&mut written).write_str(text);
    written
}

/// Text on its way into a document.
struct Escaping<'a>(&'a mut String);

impl std::fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for letter in text.chars() {
            match letter {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                letter => self.0.push(letter),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_elements_are_closed() {
        let Written(text) = XmlWriter::document("Root", |root| {
            root.text("Key", "a<b>&\"c\"");
            root.element("Part", |part| {
                part.text("PartNumber", 7);
                part.optional("Nothing", None::<&str>);
                part.etag(Etag { md5: [0xab; 16], parts: 2 });
                part.checksum(&vec![("x-amz-checksum-xxhash3".to_owned(), "ctyxi2eheH8=".to_owned())]);
            });
        });
        let content = "<Key>a&lt;b&gt;&amp;&quot;c&quot;</Key><Part><PartNumber>7</PartNumber>\
                       <ETag>&quot;abababababababababababababababab-2&quot;</ETag>\
                       <ChecksumXXHASH3>ctyxi2eheH8=</ChecksumXXHASH3></Part>";
        assert_eq!(text, format!("{DECLARATION}<Root xmlns=\"{NAMESPACE}\">{content}</Root>"));
    }

    #[test]
    fn times_have_milliseconds_and_an_end() {
        let of = |unix_ms| XmlWriter::document("R", |root| root.time("T", unix_ms)).0;
        assert!(of(1_234_567_890_123).contains("<T>2009-02-13T23:31:30.123Z</T>"));
        assert!(of(u64::MAX).contains("<T>9999-12-31T23:59:59"));
    }

    #[test]
    fn it_takes_the_place_of_an_empty_body_too() {
        let mut response = http::Response::new(Body::empty());
        XmlWriter::document("R", |_| {}).replace(&mut response);
        assert!(response.body().bytes().is_some_and(|bytes| bytes.ends_with(b"</R>")));
        assert_eq!(response.headers()[CONTENT_TYPE], "application/xml");
    }
}
