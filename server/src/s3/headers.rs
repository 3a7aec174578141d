//! The headers of objects, as attributes of the engine and back.
//!
//! Invariants: attribute names are lower-case header names. Attributes that start with
//! `x-amz-checksum-` are computed here, and never taken over from a request as they are.

use super::error::coded;
use super::lenient_headers::{LenientHeaders, META_PREFIX, METADATA_BYTES_MAX, to_header, to_text};
use super::object_lock::add_lock;
use crate::checksum::{Algorithm, HEADER_PREFIX as CHECKSUM_PREFIX, Kind, PartChecksum};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ringbolt_engine::types::traits::{is_own, tags};
use ringbolt_engine::types::{Attributes, ObjectInfo, PartInfo, StorageClass};
use s3s::{S3Error, S3Result, s3_error};
use std::time::{Duration, UNIX_EPOCH};

/// The header and attribute that says of which kind a checksum is.
pub const CHECKSUM_TYPE: &str = "x-amz-checksum-type";
/// The header, and attribute of an upload, that names the algorithm of the checksums.
pub const CHECKSUM_ALGORITHM: &str = "x-amz-checksum-algorithm";
/// The header and attribute that says where visitors of a website are sent instead.
pub const REDIRECT_LOCATION: &str = "x-amz-website-redirect-location";
const REDIRECT_BYTES_MAX: usize = 2 << 10;
const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";
const EXPIRES: &str = "expires";
/// The last second of the year 9999, in Unix seconds.
pub const LAST_TIME_S: u64 = 253_402_300_799;

/// The headers that are kept with an object as they were sent. Expires is kept too, but is taken
/// from [`LenientHeaders`].
const KEPT: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_DISPOSITION,
    header::CONTENT_LANGUAGE,
    header::CACHE_CONTROL,
];

/// The query parameters of GET and HEAD that set a header of the answer.
const OVERRIDES: [(&str, HeaderName); 6] = [
    ("response-content-type", header::CONTENT_TYPE),
    ("response-content-encoding", header::CONTENT_ENCODING),
    ("response-content-disposition", header::CONTENT_DISPOSITION),
    ("response-content-language", header::CONTENT_LANGUAGE),
    ("response-cache-control", header::CACHE_CONTROL),
    ("response-expires", header::EXPIRES),
];

/// Returns the attributes that a request gives its object. Fails if its metadata is too long.
pub fn attributes_of_request(headers: &HeaderMap, lenient: &LenientHeaders) -> S3Result<Attributes> {
    let mut attributes = Attributes::new();
    for name in &KEPT {
        let set_aside = lenient.content_type.as_ref().filter(|_| *name == header::CONTENT_TYPE);
        let Some(value) = headers.get(name).or(set_aside) else { continue };
        let value = to_text(value);
        let value = if *name == header::CONTENT_ENCODING { without_aws_chunked(&value) } else { value };
        if !value.is_empty() {
            attributes.push((name.as_str().to_owned(), value));
        }
    }
    if let Some(expires) = &lenient.expires {
        attributes.push((EXPIRES.to_owned(), expires.clone()));
    }
    add_redirection(headers, &mut attributes)?;
    let bytes: usize = lenient.metadata.iter().map(|(name, value)| name.len() + value.chars().count()).sum();
    if bytes > METADATA_BYTES_MAX {
        return Err(s3_error!(
            MetadataTooLarge,
            "Your metadata headers have {bytes} bytes; the most allowed is {METADATA_BYTES_MAX}"
        ));
    }
    let named = |(name, value): &(String, String)| (format!("{META_PREFIX}{name}"), value.clone());
    attributes.extend(lenient.metadata.iter().map(named));
    Ok(attributes)
}

/// Adds where visitors of a website are sent instead of the object, if a request says so. Fails if that
/// is no place of this website or of another.
pub fn add_redirection(headers: &HeaderMap, attributes: &mut Attributes) -> S3Result<()> {
    let Some(location) = headers.get(REDIRECT_LOCATION).map(to_text).filter(|text| !text.is_empty()) else {
        return Ok(());
    };
    if !["/", "http://", "https://"].iter().any(|start| location.starts_with(start)) {
        return Err(invalid_redirection(
            "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
        ));
    }
    if location.len() > REDIRECT_BYTES_MAX {
        return Err(invalid_redirection(
            "The length of website redirect location cannot exceed 2,048 characters.",
        ));
    }
    attributes.push((REDIRECT_LOCATION.to_owned(), location));
    Ok(())
}

fn invalid_redirection(message: &'static str) -> S3Error {
    coded("InvalidRedirectLocation", StatusCode::BAD_REQUEST, message)
}

/// Removes `aws-chunked`, which describes the transfer and not the object.
fn without_aws_chunked(encoding: &str) -> String {
    let kept: Vec<&str> =
        encoding.split(',').map(str::trim).filter(|one| !one.eq_ignore_ascii_case("aws-chunked")).collect();
    kept.join(", ")
}

/// Returns the value of the attribute `name`.
pub fn find<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a str> {
    attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// Returns the checksum that is kept with an object.
pub fn stored_checksum(attributes: &Attributes) -> Option<(Algorithm, &str)> {
    attributes.iter().find_map(|(name, value)| Some((Algorithm::from_header(name)?, value.as_str())))
}

/// Returns the kind of the checksum that is kept with an object.
pub fn stored_kind(attributes: &Attributes) -> Option<Kind> {
    find(attributes, CHECKSUM_TYPE).and_then(Kind::from_name)
}

/// Adds a computed checksum to the attributes.
pub fn add_checksum(attributes: &mut Attributes, algorithm: Algorithm, checksum: String, kind: Option<Kind>) {
    attributes.push((algorithm.header().to_owned(), checksum));
    if let Some(kind) = kind {
        attributes.push((CHECKSUM_TYPE.to_owned(), kind.name().to_owned()));
    }
}

/// Returns what describes the content of an object, and the user's metadata: the attributes without
/// the checksums, without what the engine itself reads, and without the place where a website sends its
/// visitors instead, which S3 does not copy.
pub fn described(attributes: &Attributes) -> Attributes {
    let other = |name: &str| name.starts_with(CHECKSUM_PREFIX) || is_own(name) || name == REDIRECT_LOCATION;
    attributes.iter().filter(|(name, _)| !other(name)).cloned().collect()
}

/// Returns the attributes without the checksums.
pub fn without_checksums(attributes: &Attributes) -> Attributes {
    attributes.iter().filter(|(name, _)| !name.starts_with(CHECKSUM_PREFIX)).cloned().collect()
}

/// Returns the headers of an object in answers to GET and HEAD, without checksums and lengths.
pub fn of_object(info: &ObjectInfo) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(info.attributes.len() + 10);
    let mut has_traits = false;
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(DEFAULT_CONTENT_TYPE));
    add_validators(&mut headers, info);
    for (name, value) in &info.attributes {
        if name.starts_with(CHECKSUM_PREFIX) {
            continue;
        }
        if is_own(name) {
            has_traits = true;
            continue;
        }
        let value = if name.starts_with(META_PREFIX) { metadata(value) } else { to_header(value) };
        if let (Ok(name), Some(value)) = (HeaderName::from_bytes(name.as_bytes()), value) {
            headers.insert(name, value);
        }
    }
    if has_traits {
        add_traits(&mut headers, &info.attributes);
    }
    headers
}

/// Adds the headers of what the engine itself reads in the attributes: storage class, tags, lock.
fn add_traits(headers: &mut HeaderMap, attributes: &Attributes) {
    let class = StorageClass::of(attributes);
    // S3 shows no class for the standard one.
    if class != StorageClass::Standard {
        headers.insert("x-amz-storage-class", HeaderValue::from_static(class.name()));
    }
    let count = tags(attributes).count();
    if count > 0 {
        headers.insert("x-amz-tagging-count", HeaderValue::from(count));
    }
    add_lock(headers, attributes);
}

/// Encodes metadata as S3 shows it. What is not ASCII becomes an encoded word of RFC 2047, which
/// takes each byte that was sent for a character of ISO 8859-1. What came as an encoded word goes
/// as it came.
fn metadata(value: &str) -> Option<HeaderValue> {
    if value.is_ascii() {
        return to_header(value);
    }
    HeaderValue::try_from(format!("=?UTF-8?B?{}?=", BASE64.encode(value))).ok()
}

/// Adds ETag and Last-Modified.
pub fn add_validators(headers: &mut HeaderMap, info: &ObjectInfo) {
    if let Ok(etag) = HeaderValue::try_from(format!("\"{}\"", info.etag)) {
        headers.insert(header::ETAG, etag);
    }
    if let Some(date) = http_date(info.modified_ms) {
        headers.insert(header::LAST_MODIFIED, date);
    }
}

/// Returns a time of the engine, in Unix milliseconds, as HTTP writes it.
pub fn http_date(unix_ms: u64) -> Option<HeaderValue> {
    // Times after the year 9999 have no such form; the engine takes its times from the clock.
    let unix_s = (unix_ms / 1000).min(LAST_TIME_S);
    let date = httpdate::HttpDate::from(UNIX_EPOCH + Duration::from_secs(unix_s));
    HeaderValue::try_from(date.to_string()).ok()
}

/// Adds the checksum among `attributes` of an object, and its kind.
pub fn add_checksums(headers: &mut HeaderMap, attributes: &Attributes, kind: Option<Kind>) {
    if let Some((algorithm, checksum)) = stored_checksum(attributes) {
        add_checksum_of(headers, algorithm, checksum, kind);
    }
}

/// Adds the checksum of a part, and its kind.
pub fn add_part_checksum(headers: &mut HeaderMap, part: &PartInfo, kind: Option<Kind>) {
    if let Some(checksum) = PartChecksum::stored(&part.checksum) {
        add_checksum_of(headers, checksum.algorithm, &checksum.text(), kind);
    }
}

fn add_checksum_of(headers: &mut HeaderMap, algorithm: Algorithm, checksum: &str, kind: Option<Kind>) {
    if let Some(value) = to_header(checksum) {
        headers.insert(HeaderName::from_static(algorithm.header()), value);
    }
    if let Some(kind) = kind {
        headers.insert(HeaderName::from_static(CHECKSUM_TYPE), HeaderValue::from_static(kind.name()));
    }
}

/// Returns the headers that the response-* parameters of a query set. Fails if the request is not
/// `signed`, because such a caller may not use them.
pub fn overrides(query: Option<&str>, signed: bool) -> S3Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let Some(query) = query.filter(|query| query.contains("response-")) else { return Ok(headers) };
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        let Some((_, header)) = OVERRIDES.iter().find(|(parameter, _)| *parameter == name) else { continue };
        if !signed {
            return Err(s3_error!(
                InvalidRequest,
                "Request specific response headers cannot be used for anonymous GET requests."
            ));
        }
        let value = value.replace('+', " ");
        let bytes: Vec<u8> = percent_encoding::percent_decode_str(&value).collect();
        let value = HeaderValue::from_bytes(&bytes)
            .map_err(|_| s3_error!(InvalidArgument, "{name} is not a header value"))?;
        headers.insert(header.clone(), value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lenient(name: &str, value: &str) -> LenientHeaders {
        LenientHeaders { metadata: vec![(name.to_owned(), value.to_owned())], ..LenientHeaders::default() }
    }

    #[test]
    fn headers_become_attributes_and_come_back() {
        let mut sent = HeaderMap::new();
        sent.insert("content-type", HeaderValue::from_static("text/plain"));
        sent.insert("content-encoding", HeaderValue::from_static("deflate,aws-chunked,gzip"));
        sent.insert("x-amz-checksum-crc32", HeaderValue::from_static("AAAAAA=="));
        let mut lenient = lenient("color", "caf\u{e9}");
        lenient.expires = Some("never".to_owned());
        let attributes = attributes_of_request(&sent, &lenient).unwrap();
        assert_eq!(find(&attributes, "content-encoding"), Some("deflate, gzip"));
        assert_eq!(stored_checksum(&attributes), None);
        let info = ObjectInfo { modified_ms: 783_459_811_999, attributes, ..ObjectInfo::default() };
        let shown = of_object(&info);
        assert_eq!(shown["content-type"], "text/plain");
        assert_eq!(shown["expires"], "never");
        assert_eq!(shown["last-modified"], "Sat, 29 Oct 1994 19:43:31 GMT");
        assert_eq!(shown["x-amz-meta-color"], "=?UTF-8?B?Y2Fmw6k=?=");
    }

    #[test]
    fn metadata_outside_ascii_is_shown_as_an_encoded_word() {
        // The example of the S3 user guide: UTF-8 on the wire is taken for ISO 8859-1.
        let sent = to_text(&HeaderValue::from_bytes("\u{c4}M\u{c4}Z\u{d5}\u{d1} S3".as_bytes()).unwrap());
        assert_eq!(metadata(&sent).unwrap(), "=?UTF-8?B?w4PChE3Dg8KEWsODwpXDg8KRIFMz?=");
        for same in ["plain, with a comma", "=?UTF-8?B?w4RNw4Raw5XDkSBTMw==?=", "=?UTF-8?Q?caf=C3=A9?="] {
            assert_eq!(metadata(same).unwrap(), same);
        }
        assert_eq!(metadata("line\nbreak"), None);
    }

    #[test]
    fn a_redirection_leads_to_a_place() {
        let code = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REDIRECT_LOCATION, text.parse().unwrap());
            let mut attributes = Attributes::new();
            match add_redirection(&headers, &mut attributes) {
                Ok(()) => find(&attributes, REDIRECT_LOCATION).unwrap_or_default().to_owned(),
                Err(error) => error.code().as_str().to_owned(),
            }
        };
        for good in ["", "/a/b?c#d", "http://example.com", "https://example.com/a"] {
            assert_eq!(code(good), good);
        }
        for bad in [
            "a",
            "ftp://example.com",
            "javascript:alert(1)",
            "HTTP://example.com",
            &format!("/{}", "a".repeat(2048)),
        ] {
            assert_eq!(code(bad), "InvalidRedirectLocation", "{bad}");
        }
        let stored = vec![(REDIRECT_LOCATION.to_owned(), "/a".to_owned())];
        assert_eq!(described(&stored), Attributes::new());
    }

    #[test]
    fn metadata_is_limited() {
        let fits = lenient("n", &"v".repeat(METADATA_BYTES_MAX - 1));
        assert!(attributes_of_request(&HeaderMap::new(), &fits).is_ok());
        let over = lenient("n", &"v".repeat(METADATA_BYTES_MAX));
        assert!(attributes_of_request(&HeaderMap::new(), &over).is_err());
    }

    #[test]
    fn only_signed_requests_override_headers() {
        let query = Some("response-content-type=text%2Fx+y&prefix=a");
        assert_eq!(overrides(query, true).unwrap()["content-type"], "text/x y");
        assert!(overrides(query, false).is_err());
        assert!(overrides(Some("prefix=response-"), false).is_ok_and(|headers| headers.is_empty()));
        assert!(overrides(Some("response-expires=%0A"), true).is_err());
    }
}
