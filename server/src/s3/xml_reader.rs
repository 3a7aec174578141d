//! The reader of every XML document that a request brings.
//!
//! Invariants:
//! - Only well-formed XML 1.0 in UTF-8 passes, and what it says is what the handlers get: text,
//!   CDATA sections, character references of any plane and line ends as the specification reads
//!   them.
//! - What XML forbids is refused: control characters and references to them, unknown entities,
//!   document types (which could define any).
//! - Depth and number of elements are limited, so that what becomes of a document is bounded by its
//!   length and the caller's limits.

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};
use s3s::{S3Error, S3Result, s3_error};
use std::fmt::Write;

/// The most levels of a document. The deepest one of S3 has six.
const DEPTH_MAX: usize = 16;
/// The most attributes of an element. Those of S3 have two at most, and a duplicate is looked for
/// among all that went before.
const ATTRIBUTES_MAX: usize = 32;
/// The longest reason in an answer that says what is wrong with a document, in bytes.
const REASON_BYTES_MAX: usize = 200;
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Makes the error for a document that is no XML, or not the one that the operation takes: 400. The
/// reason may quote the document, and is cut if it is long.
pub fn malformed(reason: impl std::fmt::Display) -> S3Error {
    let mut cut = Cut(String::new());
    // Its only error is that the text is full.
    let _ = write!(cut, "{reason}");
    let reason = cut.0;
    s3_error!(
        MalformedXML,
        "The XML you provided was not well-formed or did not validate against our published schema: {reason}"
    )
}

/// Makes the error for an element that a document can not have.
pub fn unknown(name: &str) -> S3Error {
    malformed(format_args!("the element {name:?} is unknown"))
}

/// Sets a field of what is read. Fails if it was set before.
pub fn set<T>(field: &mut Option<T>, name: &str, value: T) -> S3Result<()> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(malformed(format_args!("{name:?} stands more than once"))),
    }
}

/// A text that takes no more than [`REASON_BYTES_MAX`].
struct Cut(String);

impl Write for Cut {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let left = REASON_BYTES_MAX - self.0.len();
        if text.len() <= left {
            self.0.push_str(text);
            return Ok(());
        }
        self.0.push_str(&text[..text.floor_char_boundary(left)]);
        Err(std::fmt::Error)
    }
}

/// Returns whether XML 1.0 can hold a character, raw or as a reference (production 2, Char).
pub fn is_xml_char(letter: char) -> bool {
    matches!(letter, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Reads a document from its root inwards.
pub struct XmlReader<'a> {
    inner: Reader<&'a [u8]>,
    depth: usize,
    elements_left: usize,
    /// Tells that an element without content was begun, whose end comes next.
    ends_next: bool,
    begun: bool,
}

enum Token<'a> {
    Start(BytesStart<'a>),
    Text(String),
    End,
    Eof,
}

impl<'a> XmlReader<'a> {
    /// Makes a reader of a document that has at most `elements_max` elements. Fails if it is not
    /// UTF-8 or has characters that XML can not hold.
    pub fn new(document: &'a [u8], elements_max: usize) -> S3Result<Self> {
        let text = str::from_utf8(document).map_err(|_| malformed("it is not UTF-8"))?;
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        if let Some(bad) = text.chars().find(|letter| !is_xml_char(*letter)) {
            return Err(malformed(format_args!("XML cannot hold the character U+{:04X}", u32::from(bad))));
        }
        let mut inner = Reader::from_str(text);
        inner.config_mut().check_comments = true;
        Ok(Self { inner, depth: 0, elements_left: elements_max, ends_next: false, begun: false })
    }

    /// Goes into the root, which must have this name.
    pub fn root(&mut self, name: &str) -> S3Result<()> {
        match self.child()? {
            Some(found) if found == name => Ok(()),
            Some(found) => Err(malformed(format_args!("its root is {found:?}, not {name:?}"))),
            None => Err(malformed("it has no root")),
        }
    }

    /// Goes into the next child of the current element and returns its name without prefix. Returns
    /// None if there is no more, and the current element is left.
    pub fn child(&mut self) -> S3Result<Option<String>> {
        loop {
            match self.next()? {
                Token::Start(start) => return Ok(Some(local_name(&start))),
                Token::Text(text) if is_blank(&text) => {}
                Token::Text(_) => return Err(malformed("there is text between elements")),
                Token::End | Token::Eof => return Ok(None),
            }
        }
    }

    /// Returns the text of the current element, and leaves that. Fails if the element has children.
    pub fn text(&mut self) -> S3Result<String> {
        let mut text = String::new();
        loop {
            match self.next()? {
                Token::Text(more) => text.push_str(&more),
                Token::End | Token::Eof => return Ok(text),
                Token::Start(start) => {
                    return Err(malformed(format_args!("{:?} stands where text should", local_name(&start))));
                }
            }
        }
    }

    /// Leaves the current element, whatever it has in it.
    pub fn skip(&mut self) -> S3Result<()> {
        let outside = self.depth.saturating_sub(1);
        while self.depth > outside {
            self.next()?;
        }
        Ok(())
    }

    /// Ends the document after its root was left. Fails if anything follows.
    pub fn end(mut self) -> S3Result<()> {
        match self.child()? {
            None => Ok(()),
            Some(name) => Err(malformed(format_args!("{name:?} follows its root"))),
        }
    }

    /// Returns the next token, after it was counted and checked.
    fn next(&mut self) -> S3Result<Token<'a>> {
        if std::mem::take(&mut self.ends_next) {
            return self.leave();
        }
        loop {
            let event = self.inner.read_event().map_err(malformed)?;
            let first = !std::mem::replace(&mut self.begun, true);
            match event {
                Event::Start(start) => return self.enter(start, false),
                Event::Empty(start) => return self.enter(start, true),
                Event::End(_) => return self.leave(),
                Event::Text(text) => {
                    return Ok(Token::Text(text.xml10_content().map_err(malformed)?.into_owned()));
                }
                Event::CData(text) if self.depth > 0 => {
                    return Ok(Token::Text(text.xml10_content().map_err(malformed)?.into_owned()));
                }
                Event::GeneralRef(reference) if self.depth > 0 => {
                    return resolve(&reference).map(Token::Text);
                }
                Event::Decl(declaration) if first => check_declaration(&declaration)?,
                Event::Comment(_) | Event::PI(_) => {}
                Event::Eof if self.depth > 0 => return Err(malformed("it ends inside an element")),
                Event::Eof => return Ok(Token::Eof),
                Event::DocType(_) => return Err(malformed("it has a document type")),
                Event::Decl(_) => return Err(malformed("its declaration is not at its start")),
                Event::CData(_) | Event::GeneralRef(_) => {
                    return Err(malformed("there is text outside its root"));
                }
            }
        }
    }

    fn enter(&mut self, start: BytesStart<'a>, empty: bool) -> S3Result<Token<'a>> {
        for (at, attribute) in start.attributes().enumerate() {
            if at == ATTRIBUTES_MAX {
                return Err(malformed(format_args!("an element has more than {ATTRIBUTES_MAX} attributes")));
            }
            attribute.map_err(malformed)?;
        }
        if self.depth == DEPTH_MAX {
            return Err(malformed(format_args!("it is more than {DEPTH_MAX} elements deep")));
        }
        let left = self.elements_left.checked_sub(1);
        self.elements_left = left.ok_or_else(|| malformed("it has too many elements"))?;
        self.depth += 1;
        self.ends_next = empty;
        Ok(Token::Start(start))
    }

    fn leave(&mut self) -> S3Result<Token<'a>> {
        self.depth =
            self.depth.checked_sub(1).ok_or_else(|| malformed("an element ends that was not begun"))?;
        Ok(Token::End)
    }
}

fn is_blank(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
}

fn local_name(start: &BytesStart<'_>) -> String {
    String::from_utf8_lossy(start.local_name().as_ref()).into_owned()
}

fn resolve(reference: &BytesRef<'_>) -> S3Result<String> {
    if let Some(letter) = reference.resolve_char_ref().map_err(malformed)? {
        return match is_xml_char(letter) {
            true => Ok(letter.to_string()),
            false => Err(malformed(format_args!(
                "it refers to U+{:04X}, which XML cannot hold",
                u32::from(letter)
            ))),
        };
    }
    let name = reference.decode().map_err(malformed)?;
    resolve_xml_entity(&name)
        .map(str::to_owned)
        .ok_or_else(|| malformed(format_args!("the entity {name:?} is unknown")))
}

fn check_declaration(declaration: &BytesDecl<'_>) -> S3Result<()> {
    let Some(encoding) = declaration.encoding() else { return Ok(()) };
    let encoding = encoding.map_err(malformed)?;
    if [b"utf-8".as_slice(), b"us-ascii"].iter().any(|known| encoding.eq_ignore_ascii_case(known)) {
        return Ok(());
    }
    Err(malformed("its encoding is not UTF-8"))
}

/// Returns the same document with every text as one run of plain characters. It is for the parser
/// of s3s, which passes over CDATA sections and does not know every reference. Attributes stay as
/// they are.
pub fn to_plain(document: &[u8], elements_max: usize) -> S3Result<Vec<u8>> {
    let mut reader = XmlReader::new(document, elements_max)?;
    let mut writer = quick_xml::Writer::new(Vec::with_capacity(document.len()));
    let mut open = Vec::new();
    loop {
        let event = match reader.next()? {
            Token::Start(start) => {
                open.push(start.to_end().into_owned());
                Event::Start(start)
            }
            Token::Text(text) if open.is_empty() && !is_blank(&text) => {
                return Err(malformed("there is text outside its root"));
            }
            Token::Text(text) => {
                writer
                    .write_event(Event::Text(quick_xml::events::BytesText::new(&text)))
                    .map_err(malformed)?;
                continue;
            }
            Token::End => match open.pop() {
                Some(end) => Event::End(end),
                None => return Err(malformed("an element ends that was not begun")),
            },
            Token::Eof => return Ok(writer.into_inner()),
        };
        writer.write_event(event).map_err(malformed)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::S3ErrorCode;

    /// Texts of the children of `<r>`.
    fn read(document: &str) -> Result<Vec<String>, S3ErrorCode> {
        read_bytes(document.as_bytes(), 100).map_err(|error| error.code().clone())
    }

    fn read_bytes(document: &[u8], elements_max: usize) -> S3Result<Vec<String>> {
        let mut reader = XmlReader::new(document, elements_max)?;
        reader.root("r")?;
        let mut texts = Vec::new();
        while let Some(name) = reader.child()? {
            match name.as_str() {
                "skipped" => reader.skip()?,
                _ => texts.push(reader.text()?),
            }
        }
        reader.end()?;
        Ok(texts)
    }

    #[test]
    fn every_way_to_write_a_character_is_read() {
        for (written, meant) in [
            ("a", "a"),
            ("<![CDATA[k]]>", "k"),
            ("<![CDATA[<&>]]>x<![CDATA[]]>", "<&>x"),
            ("&#128512;", "\u{1f600}"),
            ("&#x1F600;&#x10fffd;", "\u{1f600}\u{10fffd}"),
            ("&#xFFFF0;", "\u{ffff0}"),
            ("\u{1f600}", "\u{1f600}"),
            ("&lt;&gt;&amp;&quot;&apos;", "<>&\"'"),
            ("a<!-- no text -->b<?pi none?>c", "abc"),
            (" a ", " a "),
            ("a\r\nb\rc\td", "a\nb\nc\td"),
            ("a&#13;&#10;b&#x9;", "a\r\nb\t"),
            ("<![CDATA[a\r\nb]]>", "a\nb"),
            ("", ""),
        ] {
            assert_eq!(read(&format!("<r><k>{written}</k></r>")), Ok(vec![meant.to_owned()]), "{written:?}");
        }
    }

    #[test]
    fn what_xml_forbids_is_refused() {
        for text in [
            "\u{1}",
            "\u{0}",
            "\u{b}",
            "\u{1f}",
            "\u{fffe}",
            "\u{ffff}",
            "&#1;",
            "&#0;",
            "&#xFFFF;",
            "&#xD800;",
            "&#1114112;",
            "&#x;",
            "&#-1;",
            "&#;",
            "&nbsp;",
            "&;",
            "& ",
            "&lt",
            "<",
            "<b></c>",
            "<![CDATA[",
            "]]&gt;<",
        ] {
            assert_eq!(read(&format!("<r><k>{text}</k></r>")), Err(S3ErrorCode::MalformedXML), "{text:?}");
        }
        let documents = [
            "",
            " ",
            "r",
            "<r>",
            "<r/><r/>",
            "<r/>x",
            "x<r/>",
            "<r></r></r>",
            "</r>",
            "<r>text</r>",
            "<R/>",
            "<r a='1' a='2'/>",
            "<r a=1/>",
            "<!DOCTYPE r [<!ENTITY e 'x'>]><r><k>&e;</k></r>",
            "<?xml version='1.0' encoding='UTF-16'?><r/>",
            "<r/><?xml version='1.0'?>",
            "<![CDATA[ ]]><r/>",
            "&#32;<r/>",
            "<r><!-- a -- b --></r>",
        ];
        for document in documents {
            assert_eq!(read(document), Err(S3ErrorCode::MalformedXML), "{document:?}");
        }
        assert!(read_bytes(b"<r><k>\xff</k></r>", 100).is_err());
    }

    #[test]
    fn prefixes_declarations_and_empty_elements_are_read() {
        let document = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<!-- c -->\n\
                        <s:r xmlns:s='http://x/' xmlns='y'> <s:k/><k />\n\
                        <skipped><a><b/></a>t</skipped><skipped/></s:r>\n";
        assert_eq!(read(document), Ok(vec![String::new(), String::new()]));
    }

    #[test]
    fn depth_and_number_of_elements_are_limited() {
        let nested = |depth: usize| {
            format!("<r><skipped>{}</skipped></r>", "<a>".repeat(depth) + &"</a>".repeat(depth))
        };
        assert_eq!(read(&nested(DEPTH_MAX - 2)), Ok(Vec::new()));
        assert_eq!(read(&nested(DEPTH_MAX - 1)), Err(S3ErrorCode::MalformedXML));
        let many = |count: usize| format!("<r>{}</r>", "<k/>".repeat(count));
        assert!(read_bytes(many(9).as_bytes(), 10).is_ok());
        assert!(read_bytes(many(10).as_bytes(), 10).is_err());
    }

    #[test]
    fn attributes_of_an_element_are_limited() {
        let with = |count: usize| {
            let attributes: String = (0..count).map(|number| format!(" a{number}=''")).collect();
            read(&format!("<r{attributes}/>"))
        };
        assert_eq!(with(ATTRIBUTES_MAX), Ok(Vec::new()));
        assert_eq!(with(ATTRIBUTES_MAX + 1), Err(S3ErrorCode::MalformedXML));
    }

    #[test]
    fn what_is_quoted_of_a_document_is_cut() {
        let long = "\u{e9}".repeat(5000);
        for document in [
            format!("<{long}/>"),
            format!("<r><k>&{long};</k></r>"),
            format!("<r><k><{long}/></k></r>"),
            format!("<r><{long}></r>"),
            format!("<r/><{long}/>"),
        ] {
            let error = read_bytes(document.as_bytes(), 100).unwrap_err();
            assert_eq!(error.code(), &S3ErrorCode::MalformedXML);
            let message = error.message().unwrap();
            assert!(message.len() < 400, "{} bytes for {document:.8}", message.len());
        }
        let short = malformed("a short one");
        assert!(short.message().unwrap().ends_with(": a short one"));
    }

    #[test]
    fn a_plain_document_says_the_same() {
        let document = "<?xml version='1.0'?><!-- c --><r xmlns:x='u' x:type=\"a&quot;b\">\
                        <k><![CDATA[<k>&]]>&#65;&#x1F600;</k><e/></r>";
        let plain = to_plain(document.as_bytes(), 10).unwrap();
        let plain = String::from_utf8(plain).unwrap();
        assert_eq!(plain, "<r xmlns:x='u' x:type=\"a&quot;b\"><k>&lt;k&gt;&amp;A\u{1f600}</k><e></e></r>");
        assert!(to_plain(b"<r/>x", 10).is_err() && to_plain(b"<r>", 10).is_err());
    }
}
