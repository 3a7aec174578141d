//! Writing XML: the documents that this server makes itself, and the references that XML wants.
//!
//! Invariants:
//! - A document is well-formed: [`XmlWriter::element`] closes what it opens, and
//!   [`XmlWriter::raw`] is for constants that are whole, and for text that needs no escaping.
//! - Text is escaped while it is written, in one pass. What [`write_references`] would change in a
//!   document of s3s is never written by [`XmlWriter`].

use std::fmt::{self, Display, Write};

/// Writes one document into memory.
pub struct XmlWriter(String);

impl XmlWriter {
    /// Writes a whole document: the declaration, and `root` with what `content` writes into it.
    pub fn document(root: &str, namespace: Option<&str>, content: impl FnOnce(&mut Self)) -> String {
        let mut writer = Self(String::with_capacity(512));
        writer.raw("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<");
        writer.raw(root);
        if let Some(namespace) = namespace {
            writer.raw(" xmlns=\"");
            writer.escaped(namespace);
            writer.raw("\"");
        }
        writer.raw(">");
        content(&mut writer);
        writer.close(root);
        writer.0
    }

    /// Writes what `content` writes, without a document around it.
    pub fn fragment(content: impl FnOnce(&mut Self)) -> String {
        let mut writer = Self(String::new());
        content(&mut writer);
        writer.0
    }

    /// Makes room for `bytes` more, so that the text is not copied while it grows.
    pub fn reserve(&mut self, bytes: usize) {
        self.0.reserve(bytes);
    }

    /// Writes an element with what `content` writes into it.
    pub fn element(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.raw("<");
        self.raw(name);
        self.raw(">");
        content(self);
        self.close(name);
    }

    /// Writes an element that holds a text.
    pub fn text(&mut self, name: &str, value: impl Display) {
        self.element(name, |element| {
            // Writing into memory cannot fail.
            let _ = write!(Escaped(element), "{value}");
        });
    }

    /// Writes an element that holds a text, or nothing at all if there is no value.
    pub fn optional(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// Writes XML as it is.
    pub fn raw(&mut self, xml: &str) {
        self.0.push_str(xml);
    }

    /// Writes a value whose text has nothing to escape: a number, an id, a digest.
    pub fn plain(&mut self, value: impl Display) {
        // Writing into memory cannot fail.
        let _ = write!(self.0, "{value}");
    }

    /// Writes a text, with references in the place of markup and of what [`needs_reference`].
    pub fn escaped(&mut self, text: &str) {
        let mut rest = text;
        while let Some(at) = rest.bytes().position(|byte| STOPS[usize::from(byte)]) {
            let (before, from) = rest.split_at(at);
            self.raw(before);
            let mut letters = from.chars();
            match letters.next() {
                Some('<') => self.raw("&lt;"),
                Some('>') => self.raw("&gt;"),
                Some('&') => self.raw("&amp;"),
                Some('\'') => self.raw("&apos;"),
                Some('"') => self.raw("&quot;"),
                Some(letter) if needs_reference(letter) => push_reference(&mut self.0, letter),
                Some(letter) => self.0.push(letter),
                None => {}
            }
            rest = letters.as_str();
        }
        self.raw(rest);
    }

    fn close(&mut self, name: &str) {
        self.raw("</");
        self.raw(name);
        self.raw(">");
    }
}

/// Escapes what is formatted into it.
struct Escaped<'a>(&'a mut XmlWriter);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.escaped(text);
        Ok(())
    }
}

/// The bytes at which a text may not be copied as it is: markup, control characters, and the first
/// byte of U+FFFE and U+FFFF, which other letters have too.
const STOPS: [bool; 256] = {
    let mut stops = [false; 256];
    let mut byte = 0;
    while byte < stops.len() {
        stops[byte] =
            matches!(byte as u8, b'<' | b'>' | b'&' | b'\'' | b'"' | 0xef) || is_control(byte as u8);
        byte += 1;
    }
    stops
};

const fn is_control(byte: u8) -> bool {
    matches!(byte, 0..=0x08 | 0x0b..=0x1f)
}

/// Returns whether a letter must not stand in a document as it is.
///
/// Names hold any character. A carriage return must be written as a reference, or readers take it
/// for a line feed. What XML 1.0 cannot hold at all is written as a reference too, as S3 does it:
/// clients whose parser refuses that ask for `encoding-type=url`.
fn needs_reference(letter: char) -> bool {
    matches!(letter, '\0'..='\x08' | '\x0b'..='\x1f' | '\u{fffe}' | '\u{ffff}')
}

fn push_reference(text: &mut String, letter: char) {
    // Writing to a string cannot fail.
    let _ = write!(text, "&#{};", u32::from(letter));
}

/// Writes references into a document of s3s for the characters that stand there as they are and
/// must not ([`needs_reference`]). Returns None if there are none.
pub fn write_references(xml: &str) -> Option<String> {
    // Most answers have neither control characters nor any that begin like U+FFFE.
    if !xml.bytes().any(|byte| is_control(byte) || byte == 0xef) || !xml.contains(needs_reference) {
        return None;
    }
    let mut text = String::with_capacity(xml.len() + 64);
    for letter in xml.chars() {
        match needs_reference(letter) {
            true => push_reference(&mut text, letter),
            false => text.push(letter),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_elements_are_closed() {
        let text = XmlWriter::document("Root", Some("http://n/"), |root| {
            root.text("Key", "a<b>&\"c\"'");
            root.element("Part", |part| {
                part.text("PartNumber", 7);
                part.optional("Nothing", None::<&str>);
            });
        });
        let content = "<Key>a&lt;b&gt;&amp;&quot;c&quot;&apos;</Key><Part><PartNumber>7</PartNumber></Part>";
        let declaration = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
        assert_eq!(text, format!("{declaration}<Root xmlns=\"http://n/\">{content}</Root>"));
        assert_eq!(XmlWriter::document("R", None, |_| {}), format!("{declaration}<R></R>"));
    }

    #[test]
    fn what_readers_would_change_or_refuse_becomes_a_reference() {
        assert_eq!(write_references("<Key>a\tb\nc\u{feff}\u{fffd}</Key>"), None);
        assert_eq!(
            write_references("<Key>a\rb\u{1}\u{ffff}\u{e9}</Key>").as_deref(),
            Some("<Key>a&#13;b&#1;&#65535;\u{e9}</Key>")
        );
    }

    #[test]
    fn every_letter_is_written_as_quick_xml_and_the_references_of_documents_make_it() {
        let letters = (0..=0x2ff_u32).chain(0xef00..=0x1_0010).filter_map(char::from_u32);
        for letter in letters {
            let text = format!("a{letter}\u{ff21}{letter}");
            let written = XmlWriter::fragment(|fragment| fragment.escaped(&text));
            let escaped = quick_xml::escape::escape(text.as_str());
            let expected = write_references(&escaped).unwrap_or_else(|| escaped.to_string());
            assert_eq!(written, expected, "{letter:?}");
            assert_eq!(write_references(&written), None, "{letter:?}");
        }
    }
}
