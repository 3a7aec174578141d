//! Writing XML: the documents that this server makes itself, and the references that XML wants.
//!
//! Invariants: a document is well-formed, because elements are closed where they are opened, by
//! [`XmlWriter::element`]. Text is escaped by quick-xml. Characters that XML 1.0 cannot hold are
//! left as they are: [`write_references`] sees to them when an answer is complete.

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use std::fmt::{Display, Write as _};

/// Writes one document into memory.
pub struct XmlWriter(Writer<Vec<u8>>);

impl XmlWriter {
    /// Writes a whole document: the declaration, and `root` with what `content` writes into it.
    pub fn document(root: &str, namespace: Option<&str>, content: impl FnOnce(&mut Self)) -> String {
        let mut writer = Self(Writer::new(Vec::with_capacity(512)));
        writer.event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)));
        writer.event(Event::Text(BytesText::from_escaped("\n")));
        let start = BytesStart::new(root).with_attributes(namespace.map(|namespace| ("xmlns", namespace)));
        writer.event(Event::Start(start));
        content(&mut writer);
        writer.event(Event::End(BytesEnd::new(root)));
        // quick-xml writes nothing but what it was given, which is text.
        String::from_utf8(writer.0.into_inner()).unwrap_or_default()
    }

    /// Writes an element with what `content` writes into it.
    pub fn element(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.event(Event::Start(BytesStart::new(name)));
        content(self);
        self.event(Event::End(BytesEnd::new(name)));
    }

    /// Writes an element that holds a text.
    pub fn text(&mut self, name: &str, value: impl Display) {
        self.element(name, |element| element.event(Event::Text(BytesText::new(&value.to_string()))));
    }

    /// Writes an element that holds a text, or nothing at all if there is no value.
    pub fn optional(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    fn event(&mut self, event: Event<'_>) {
        // Writing into memory cannot fail.
        let _ = self.0.write_event(event);
    }
}

/// Writes references for characters that stand in a document as they are and must not. Returns None
/// if there are none.
///
/// Names hold any character. A carriage return must be written as a reference, or readers take it
/// for a line feed. What XML 1.0 cannot hold at all is written as a reference too, as S3 does it:
/// clients whose parser refuses that ask for `encoding-type=url`.
pub fn write_references(xml: &str) -> Option<String> {
    let needs = |letter: char| matches!(letter, '\0'..='\x08' | '\x0b'..='\x1f' | '\u{fffe}' | '\u{ffff}');
    // Most answers have neither control characters nor any that begin like U+FFFE.
    if !xml.bytes().any(|byte| matches!(byte, 0..=0x08 | 0x0b..=0x1f | 0xef)) || !xml.contains(needs) {
        return None;
    }
    let mut text = String::with_capacity(xml.len() + 64);
    for letter in xml.chars() {
        match needs(letter) {
            // Writing to a string cannot fail.
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
    fn text_is_escaped_and_elements_are_closed() {
        let text = XmlWriter::document("Root", Some("http://n/"), |root| {
            root.text("Key", "a<b>&\"c\"");
            root.element("Part", |part| {
                part.text("PartNumber", 7);
                part.optional("Nothing", None::<&str>);
            });
        });
        let content = "<Key>a&lt;b&gt;&amp;&quot;c&quot;</Key><Part><PartNumber>7</PartNumber></Part>";
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
}
