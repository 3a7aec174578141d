//! The headers that are taken out of a request before s3s reads it, because S3 is more lenient
//! there than s3s: lists of entity tags, dates that do not parse (ignored, not refused), several
//! ranges, If-Range, an Expires that is no date, and metadata that is not UTF-8.
//!
//! Invariants:
//! - A header that is taken out is in [`LenientHeaders`], and nowhere else, for the handler to
//!   judge.
//! - A date that s3s reads itself is left in the one form that it knows.
//! - Values are kept as text with one character per byte (ISO 8859-1), so that any byte comes back
//!   as it was sent.

use super::conditional::Conditions;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// What the names of the headers of user metadata begin with.
pub const META_PREFIX: &str = "x-amz-meta-";
const IF_MATCH_TIME: &str = "x-amz-if-match-last-modified-time";
/// The most bytes of user metadata, names and values together, as S3 limits them.
pub const METADATA_BYTES_MAX: usize = 2048;

/// The headers that were taken out of a request. Each is in here and not among the headers any
/// more.
#[derive(Clone, Debug, Default)]
pub struct LenientHeaders {
    pub conditions: Conditions,
    pub source_conditions: Conditions,
    pub range: Option<String>,
    /// The validator that says whether `range` counts.
    pub if_range: Option<String>,
    pub expires: Option<String>,
    /// The name without its prefix and the value of each metadata header, in the order of the
    /// header map.
    pub metadata: Vec<(String, String)>,
    /// The value of Content-MD5. It is present even when it is empty, which is an error of its own.
    pub content_md5: Option<String>,
    /// The body's length in bytes, after all transfer and chunk encodings, if the client announced
    /// it.
    pub body_length: Option<u64>,
    pub copy_source_range: Option<String>,
    /// The Content-Type of a POST, because s3s would take some types for those of a form.
    pub content_type: Option<HeaderValue>,
}

impl LenientHeaders {
    /// Takes these headers out of `headers`.
    pub fn take(headers: &mut HeaderMap) -> Self {
        let source = |name| HeaderName::from_static(name);
        let body_length = announced_length(headers);
        unify_date(headers);
        // Most requests have none of these: one look at each header is less than a search for every
        // name.
        if !headers.keys().any(is_taken) {
            return Self { body_length, ..Self::default() };
        }
        Self {
            conditions: Conditions {
                if_match: take(headers, &header::IF_MATCH),
                if_none_match: take(headers, &header::IF_NONE_MATCH),
                if_modified_since: take(headers, &header::IF_MODIFIED_SINCE),
                if_unmodified_since: take(headers, &header::IF_UNMODIFIED_SINCE),
            },
            source_conditions: Conditions {
                if_match: take(headers, &source("x-amz-copy-source-if-match")),
                if_none_match: take(headers, &source("x-amz-copy-source-if-none-match")),
                if_modified_since: take(headers, &source("x-amz-copy-source-if-modified-since")),
                if_unmodified_since: take(headers, &source("x-amz-copy-source-if-unmodified-since")),
            },
            range: take(headers, &header::RANGE),
            if_range: take(headers, &header::IF_RANGE),
            expires: take(headers, &header::EXPIRES),
            metadata: take_metadata(headers),
            content_md5: take(headers, &source("content-md5")),
            body_length,
            copy_source_range: take(headers, &source("x-amz-copy-source-range")),
            content_type: None,
        }
    }
}

/// Returns whether [`LenientHeaders::take`] takes a header of this name, or might.
fn is_taken(name: &HeaderName) -> bool {
    const PLAIN: [HeaderName; 7] = [
        header::RANGE,
        header::IF_RANGE,
        header::EXPIRES,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
    ];
    let text = name.as_str();
    text == "content-md5"
        || text.starts_with(META_PREFIX)
        || text.starts_with("x-amz-copy-source-")
        || PLAIN.contains(name)
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    let decoded =
        headers.get("x-amz-decoded-content-length").or_else(|| headers.get(header::CONTENT_LENGTH))?;
    decoded.to_str().ok()?.trim().parse().ok()
}

/// Writes the date that s3s reads itself as IMF-fixdate, the one form that s3s knows.
fn unify_date(headers: &mut HeaderMap) {
    let Some(value) = headers.get_mut(IF_MATCH_TIME) else { return };
    let time = value.to_str().ok().and_then(|text| httpdate::parse_http_date(text.trim()).ok());
    if let Some(time) = time.and_then(|time| HeaderValue::try_from(httpdate::fmt_http_date(time)).ok()) {
        *value = time;
    }
}

/// Takes a header out. Several headers of one name are one list.
fn take(headers: &mut HeaderMap, name: &HeaderName) -> Option<String> {
    let mut values = headers.get_all(name).iter().map(to_text);
    let mut text = values.next()?;
    for value in values {
        text.push(',');
        text.push_str(&value);
    }
    headers.remove(name);
    Some(text)
}

fn take_metadata(headers: &mut HeaderMap) -> Vec<(String, String)> {
    let names: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(META_PREFIX)).cloned().collect();
    names
        .into_iter()
        .filter_map(|name| {
            let value = take(headers, &name)?;
            Some((name.as_str()[META_PREFIX.len()..].to_owned(), value))
        })
        .collect()
}

/// Returns a value as text with one character for each byte.
pub fn to_text(value: &HeaderValue) -> String {
    value.as_bytes().iter().map(|&byte| char::from(byte)).collect()
}

/// Returns the header value for text made by [`to_text`], or None if no header can carry it.
pub fn to_header(text: &str) -> Option<HeaderValue> {
    if text.is_ascii() {
        return HeaderValue::from_str(text).ok();
    }
    let bytes: Option<Vec<u8>> = text.chars().map(|letter| u8::try_from(u32::from(letter)).ok()).collect();
    HeaderValue::from_bytes(&bytes?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_gone_from_the_headers() {
        let mut headers = HeaderMap::new();
        headers.append("if-match", HeaderValue::from_static("\"a\""));
        headers.append("if-match", HeaderValue::from_static("\"b\""));
        headers.insert("x-amz-meta-Color", HeaderValue::from_static("red"));
        headers.insert("content-length", HeaderValue::from_static("70"));
        headers.insert("x-amz-decoded-content-length", HeaderValue::from_static("7"));
        headers.insert("content-md5", HeaderValue::from_static(""));
        let lenient = LenientHeaders::take(&mut headers);
        assert_eq!(lenient.conditions.if_match.as_deref(), Some("\"a\",\"b\""));
        assert_eq!(lenient.metadata, [("color".to_owned(), "red".to_owned())]);
        assert_eq!(lenient.body_length, Some(7));
        assert_eq!(lenient.content_md5.as_deref(), Some(""));
        assert_eq!(headers.len(), 2);
    }

    #[test]
    fn each_of_them_is_taken_when_it_comes_alone() {
        let names = [
            "if-match",
            "if-none-match",
            "if-modified-since",
            "if-unmodified-since",
            "x-amz-copy-source-if-match",
            "x-amz-copy-source-if-none-match",
            "x-amz-copy-source-if-modified-since",
            "x-amz-copy-source-if-unmodified-since",
            "range",
            "if-range",
            "expires",
            "x-amz-meta-a",
            "content-md5",
            "x-amz-copy-source-range",
        ];
        for name in names {
            let mut headers = HeaderMap::new();
            headers.insert("x-amz-date", HeaderValue::from_static("now"));
            headers.insert(name, HeaderValue::from_static("a"));
            LenientHeaders::take(&mut headers);
            assert_eq!(headers.len(), 1, "{name}");
        }
    }

    #[test]
    fn a_date_that_s3s_reads_gets_the_form_that_it_knows() {
        for (sent, kept) in [
            ("Saturday, 29-Oct-94 19:43:31 GMT", "Sat, 29 Oct 1994 19:43:31 GMT"),
            ("Sat Oct 29 19:43:31 1994", "Sat, 29 Oct 1994 19:43:31 GMT"),
            ("yesterday", "yesterday"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(IF_MATCH_TIME, HeaderValue::from_static(sent));
            LenientHeaders::take(&mut headers);
            assert_eq!(headers[IF_MATCH_TIME], kept);
        }
    }

    #[test]
    fn any_byte_of_a_value_comes_back() {
        let sent = HeaderValue::from_bytes(b"caf\xe9 \xc3\xa9").unwrap();
        assert_eq!(to_header(&to_text(&sent)), Some(sent));
        assert_eq!(to_header("\u{20ac}"), None);
        assert_eq!(to_header("line\nbreak"), None);
    }
}
