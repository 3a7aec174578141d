//! This module parses responses to ListObjectsV2, and error documents of S3.
//!
//! Source: "ListObjectsV2" and "Error responses" in the Amazon S3 API reference. Invariant: a
//! response that ends early, or lacks a required element, is an error, never a shorter page.

use percent_encoding::percent_decode;
use quick_xml::Reader;
use quick_xml::events::Event;

/// Limits the nesting of elements; listings have four levels.
const DEPTH_MAX: usize = 16;
/// Limits the characters of a body that messages show.
const SHOWN_CHARACTERS: usize = 200;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub objects: Vec<PageObject>,
    /// This is the token of the next page; `None` if this is the last one.
    pub next_token: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageObject {
    pub key: Vec<u8>,
    pub size_bytes: u64,
    pub etag: Option<String>,
    pub storage_class: Option<String>,
}

/// Says why a response is not a page.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    #[error("not XML at byte {at}: {source}")]
    Xml { at: u64, source: quick_xml::Error },
    #[error("the answer ends within <{0}>: it was cut off")]
    Cut(String),
    #[error("{name} is {value:?}: expected {expected}")]
    Value { name: &'static str, value: String, expected: &'static str },
    #[error("an object without <{0}>")]
    Missing(&'static str),
    #[error("<IsTruncated> is true, but there is no <NextContinuationToken> to go on with")]
    NoToken,
    #[error("expected <ListBucketResult>, found {0}: is this an S3 endpoint?")]
    NoListing(String),
    #[error("elements within elements more than {DEPTH_MAX} deep")]
    Deep,
}

/// Calls `visit` at the end of every element with the path to it, outermost first, and its text.
fn walk(
    body: &[u8],
    mut visit: impl FnMut(&[String], &str) -> Result<(), PageError>,
) -> Result<(), PageError> {
    let mut reader = Reader::from_reader(body);
    let mut path: Vec<String> = Vec::new();
    // This is the text of the open element; no element that is used contains both text and
    // elements.
    let mut text = String::new();
    let mut buffer = Vec::new();
    loop {
        let at = reader.buffer_position();
        let failed = |source: quick_xml::Error| PageError::Xml { at, source };
        let event = reader.read_event_into(&mut buffer).map_err(failed)?;
        match event {
            Event::Start(start) => {
                if path.len() == DEPTH_MAX {
                    return Err(PageError::Deep);
                }
                path.push(String::from_utf8_lossy(start.local_name().as_ref()).into_owned());
                text.clear();
            }
            Event::Empty(empty) => {
                path.push(String::from_utf8_lossy(empty.local_name().as_ref()).into_owned());
                visit(&path, "")?;
                path.pop();
            }
            Event::End(_) => {
                visit(&path, &text)?;
                path.pop();
                text.clear();
            }
            Event::Text(part) => text.push_str(&part.decode().map_err(|error| failed(error.into()))?),
            Event::CData(part) => text.push_str(&part.decode().map_err(|error| failed(error.into()))?),
            Event::GeneralRef(reference) => match reference.resolve_char_ref().map_err(failed)? {
                Some(character) => text.push(character),
                None => text.push(entity(&reference.decode().map_err(|error| failed(error.into()))?)?),
            },
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
        buffer.clear();
    }
    path.pop().map_or(Ok(()), |open| Err(PageError::Cut(open)))
}

/// Returns one of the five entities of XML; others would have to be declared, and no S3 server does
/// that.
fn entity(name: &str) -> Result<char, PageError> {
    match name {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(PageError::Value { name: "an entity", value: name.into(), expected: "one that XML has" }),
    }
}

/// Holds what is known about an object before its element ends.
#[derive(Default)]
struct Begun {
    key: Option<String>,
    size_bytes: Option<u64>,
    etag: Option<String>,
    storage_class: Option<String>,
}

impl Page {
    /// Parses a page.
    ///
    /// # Errors
    /// Fails when `body` is not a complete response to ListObjectsV2.
    pub fn parse(body: &[u8]) -> Result<Self, PageError> {
        let mut page = Self::default();
        let (mut begun, mut truncated, mut encoded, mut root) = (Begun::default(), false, false, None);
        walk(body, |path, text| {
            let names: Vec<&str> = path.iter().map(String::as_str).collect();
            match names.as_slice() {
                [name] => root = Some((*name).to_owned()),
                [_, "IsTruncated"] => truncated = flag("IsTruncated", text)?,
                [_, "NextContinuationToken"] => page.next_token = Some(text.to_owned()),
                [_, "EncodingType"] => encoded = text == "url",
                [_, "Contents", "Key"] => begun.key = Some(text.to_owned()),
                [_, "Contents", "Size"] => begun.size_bytes = Some(size(text)?),
                [_, "Contents", "ETag"] => begun.etag = Some(text.to_owned()),
                [_, "Contents", "StorageClass"] => begun.storage_class = Some(text.to_owned()),
                [_, "Contents"] => page.objects.push(std::mem::take(&mut begun).finish()?),
                _ => {}
            }
            Ok(())
        })?;
        match root.as_deref() {
            Some("ListBucketResult") => {}
            Some(name) => return Err(PageError::NoListing(format!("<{name}>"))),
            None => return Err(PageError::NoListing(shown(body))),
        }
        if encoded {
            // Keys are decoded only now, because the element may come after the objects.
            page.objects.iter_mut().for_each(|object| object.key = url_decoded(&object.key));
        }
        if !truncated {
            page.next_token = None;
        } else if page.next_token.as_deref().is_none_or(str::is_empty) {
            return Err(PageError::NoToken);
        }
        Ok(page)
    }
}

impl Begun {
    fn finish(self) -> Result<PageObject, PageError> {
        Ok(PageObject {
            key: self.key.ok_or(PageError::Missing("Key"))?.into_bytes(),
            size_bytes: self.size_bytes.ok_or(PageError::Missing("Size"))?,
            etag: self.etag,
            storage_class: self.storage_class,
        })
    }
}

fn flag(name: &'static str, text: &str) -> Result<bool, PageError> {
    match text.trim() {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(PageError::Value { name, value: other.into(), expected: "true or false" }),
    }
}

fn size(text: &str) -> Result<u64, PageError> {
    let wrong = || PageError::Value { name: "Size", value: text.into(), expected: "a whole number of bytes" };
    text.trim().parse().map_err(|_| wrong())
}

/// Decodes a key as S3 encodes it in listings and inventories: like a form, with `+` for a blank.
pub fn url_decoded(text: &[u8]) -> Vec<u8> {
    let blanks: Vec<u8> = text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    percent_decode(&blanks).collect()
}

/// Returns code and message of an error document, or the beginning of the body if it is none.
pub fn server_error(body: &[u8]) -> (String, String) {
    let (mut code, mut message) = (String::new(), String::new());
    let whole = walk(body, |path, text| {
        match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["Error", "Code"] => text.clone_into(&mut code),
            ["Error", "Message"] => text.clone_into(&mut message),
            _ => {}
        }
        Ok(())
    });
    match whole {
        Ok(()) if !code.is_empty() => (code, message),
        _ => ("without an error document".into(), shown(body)),
    }
}

fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let characters: String = text.trim().chars().take(SHOWN_CHARACTERS).collect();
    if characters.is_empty() { "an empty body".into() } else { format!("{characters:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(inside: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <Name>b</Name><KeyCount>1</KeyCount>{inside}</ListBucketResult>"
        )
    }

    fn contents(key: &str, size: &str) -> String {
        format!("<Contents>\n  <Key>{key}</Key><Size>{size}</Size><Owner><ID>7</ID></Owner></Contents>")
    }

    fn refused(inside: &str) -> String {
        Page::parse(listing(inside).as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_page_is_read_with_what_is_in_it() {
        let inside = "<IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;b==</NextContinuationToken>\
            <Contents><Key>k</Key><LastModified>2026</LastModified><ETag>&quot;ab-2&quot;</ETag><Size>12</Size>\
            <StorageClass>STANDARD</StorageClass></Contents><Contents><Size>0</Size><Key/></Contents>\
            <CommonPrefixes><Prefix>p</Prefix></CommonPrefixes>";
        let page = Page::parse(listing(inside).as_bytes()).unwrap();
        assert_eq!(page.next_token.as_deref(), Some("a&b=="));
        let first = PageObject {
            key: b"k".to_vec(),
            size_bytes: 12,
            etag: Some("\"ab-2\"".into()),
            storage_class: Some("STANDARD".into()),
        };
        assert_eq!(page.objects, [first, PageObject::default()]);
        assert_eq!(Page::parse(listing("").as_bytes()).unwrap(), Page::default(), "an empty bucket");
    }

    #[test]
    fn keys_are_decoded_once_and_as_they_were_encoded() {
        let keys = |text: String| {
            let page = Page::parse(text.as_bytes()).unwrap();
            page.objects.into_iter().map(|object| String::from_utf8(object.key).unwrap()).collect::<Vec<_>>()
        };
        let raw = contents("a&lt;b&#x26;c&#233;<![CDATA[<&amp;]]>+%20", "1");
        assert_eq!(keys(listing(&raw)), ["a<b&cé<&amp;+%20"]);
        let encoded = contents("a%3Cb+c%2B%C3%A9%2520", "1") + "<EncodingType>url</EncodingType>";
        assert_eq!(keys(listing(&encoded)), ["a<b c+é%20"]);
    }

    #[test]
    fn an_answer_cut_anywhere_is_an_error() {
        let text = listing(&(contents("key", "1") + "<IsTruncated>false</IsTruncated>"));
        assert_eq!(Page::parse(text.as_bytes()).unwrap().objects.len(), 1);
        for end in 0..text.len() {
            assert!(Page::parse(&text.as_bytes()[..end]).is_err(), "{}", &text[..end]);
        }
        let cut =
            Page::parse(&text.as_bytes()[..text.find("<IsTruncated").unwrap()]).unwrap_err().to_string();
        assert!(cut.contains("cut off"), "{cut}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(refused(&contents("k", "x1")), "Size is \"x1\": expected a whole number of bytes");
        assert!(refused(&contents("k", "-1")).contains("\"-1\""));
        assert_eq!(refused("<Contents><Key>k</Key></Contents>"), "an object without <Size>");
        assert_eq!(refused("<Contents><Size>1</Size></Contents>"), "an object without <Key>");
        assert!(refused("<IsTruncated>yes</IsTruncated>").contains("\"yes\""));
        assert!(refused("<IsTruncated>true</IsTruncated>").contains("NextContinuationToken"));
        assert!(refused(&contents("&undeclared;", "1")).contains("undeclared"));
        assert!(refused(&"<a>".repeat(20)).contains("deep"));
        assert!(refused("</b>").contains("not XML at byte"));
        let html = Page::parse(b"<html><body>hello</body></html>").unwrap_err().to_string();
        assert!(html.contains("<html>") && html.contains("S3 endpoint"), "{html}");
        assert!(Page::parse(b"").unwrap_err().to_string().contains("an empty body"));
    }

    #[test]
    fn errors_of_the_server_are_shown() {
        let xml =
            b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>No &amp; no</Message></Error>";
        assert_eq!(server_error(xml), ("AccessDenied".into(), "No & no".into()));
        let (code, message) = server_error(b"<html>Bad gateway");
        assert_eq!((code.as_str(), message.as_str()), ("without an error document", "\"<html>Bad gateway\""));
    }
}
