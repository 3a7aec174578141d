//! Removes the signature from a request after it was verified, and every `x-amz-*` from its query.
//!
//! Presigners put headers into the query (they call it hoisting), so that whoever uses the address
//! need not send them.
//!
//! Invariant: such a parameter becomes the header that it stands for, and is judged as one. A
//! header that says something else than its parameter is refused. The one exception is the checksum
//! of an empty body on a request that has a body: presigners that do not know the body put it
//! there, and it is dropped.

use super::claim;
use super::parameters::pairs;
use super::version_2::{self, HOISTED};
use super::{CONTENT_SHA256, UNSIGNED_PAYLOAD};
use crate::auth::AuthError;
use crate::checksum::declares_empty;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;

const SDK_ALGORITHM: &str = "x-amz-sdk-checksum-algorithm";
const ANNOUNCED_TRAILERS: &str = "x-amz-trailer";

/// Takes everything that belongs to the signature out of a request, and turns the headers that were
/// put into its query back into headers. Fails if a header and its parameter differ.
pub fn strip_signature(parts: &mut Parts) -> Result<(), AuthError> {
    parts.headers.remove(AUTHORIZATION);
    let Some(query) = parts.uri.query() else { return Ok(()) };
    let version_2 = pairs(query).any(|(name, _)| name == version_2::QUERY_PARAMETERS[0]);
    let belongs = |name: &str| {
        claim::QUERY_PARAMETERS.contains(&name) || version_2 && version_2::QUERY_PARAMETERS.contains(&name)
    };
    let hoists = |name: &str| name.starts_with("x-amz-") || version_2 && HOISTED.contains(&name);
    let (mut kept, mut hoisted): (Vec<&str>, HeaderMap) = (Vec::new(), HeaderMap::new());
    for pair in query.split('&') {
        let Some((name, value)) = pairs(pair).next() else { continue };
        let header = name.to_ascii_lowercase();
        match () {
            () if belongs(&name) => {}
            () if hoists(&header) => hoist(&mut hoisted, &header, value)?,
            () => kept.push(pair),
        }
    }
    if kept.len() < query.split('&').count() {
        let text = match kept.is_empty() {
            true => parts.uri.path().to_owned(),
            false => format!("{}?{}", parts.uri.path(), kept.join("&")),
        };
        let mut uri = std::mem::take(&mut parts.uri).into_parts();
        // Removing whole parameters of a valid query leaves a valid one.
        if let Ok(path_and_query) = PathAndQuery::try_from(text) {
            uri.path_and_query = Some(path_and_query);
        }
        parts.uri = http::Uri::from_parts(uri).unwrap_or_default();
    }
    drop_empty_checksum(&parts.headers, &mut hoisted);
    merge(&mut parts.headers, hoisted)
}

/// Drops the checksum of an empty body from a request that has a body. SDKs that sign an address
/// for a body that comes later compute the checksum of nothing; it counts for an empty body only,
/// and the name of an algorithm only beside a checksum.
fn drop_empty_checksum(headers: &HeaderMap, hoisted: &mut HeaderMap) {
    let has_body = headers.get(CONTENT_LENGTH).is_none_or(|length| length != "0");
    let of_nothing = |(name, value): (&HeaderName, &HeaderValue)| {
        (declares_empty(name.as_str(), value.as_bytes()) == Some(true)).then(|| name.clone())
    };
    let dropped: Vec<HeaderName> = hoisted.iter().filter_map(of_nothing).filter(|_| has_body).collect();
    for name in &dropped {
        hoisted.remove(name);
    }
    let is_checksum =
        |name: &HeaderName| name == ANNOUNCED_TRAILERS || declares_empty(name.as_str(), b"").is_some();
    if !dropped.is_empty() || !headers.keys().chain(hoisted.keys()).any(is_checksum) {
        hoisted.remove(SDK_ALGORITHM);
    }
}

fn hoist(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), AuthError> {
    let unusable = || AuthError::NoHeaderValue(name.chars().take(60).collect());
    let value: Vec<u8> = percent_decode_str(&value.replace('+', " ")).collect();
    let value = HeaderValue::from_bytes(&value).map_err(|_| unusable())?;
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable())?;
    match headers.insert(header, value.clone()) {
        Some(before) if before != value => Err(AuthError::GivenTwice(name.to_owned())),
        _ => Ok(()),
    }
}

fn merge(headers: &mut HeaderMap, hoisted: HeaderMap) -> Result<(), AuthError> {
    for (name, value) in hoisted {
        let Some(name) = name else { continue };
        let sent = headers.get_all(&name).iter().collect::<Vec<_>>();
        match sent.as_slice() {
            [] => drop(headers.insert(name, value)),
            [one] if **one == value => {}
            // Whoever uses the address knows the body, which its signer did not. The hash of the
            // body only narrows what is accepted.
            [_] if name == CONTENT_SHA256 && value == UNSIGNED_PAYLOAD => {}
            _ => return Err(AuthError::GivenTwice(name.as_str().to_owned())),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn settled(uri: &str, headers: &[(&'static str, &'static str)]) -> Result<Parts, AuthError> {
        let mut parts = Request::put(uri).body(()).unwrap().into_parts().0;
        for (name, value) in headers {
            parts.headers.insert(*name, HeaderValue::from_static(value));
        }
        strip_signature(&mut parts).map(|()| parts)
    }

    #[test]
    fn nothing_of_the_signature_is_left() {
        for (before, after) in [
            ("/k?a=1&X-Amz-Signature=0&versionId=2", "/k?a=1&versionId=2"),
            ("/k?X-Amz-Signature=0&X-Amz-Expires=1&X%2DAmz-Date=now", "/k"),
            ("/k?AWSAccessKeyId=a&Signature=b&Expires=1&uploads", "/k?uploads"),
            ("/k?Expires=1&uploads", "/k?Expires=1&uploads"),
        ] {
            let parts = settled(before, &[]).unwrap();
            assert_eq!(parts.uri, after, "{before}");
            assert!(parts.headers.is_empty(), "{before}");
        }
    }

    #[test]
    fn what_was_hoisted_is_a_header_again() {
        let parts = settled("/k?X-Amz-Meta-Color=dark%20red&x-amz-acl=private&prefix=x-amz-", &[]).unwrap();
        assert_eq!(parts.uri, "/k?prefix=x-amz-");
        assert_eq!(
            (&parts.headers["x-amz-meta-color"], &parts.headers["x-amz-acl"]),
            (&HeaderValue::from_static("dark red"), &HeaderValue::from_static("private"))
        );
        let parts = settled("/k?AWSAccessKeyId=a&content-type=text%2Fplain", &[]).unwrap();
        assert_eq!(
            (parts.uri.to_string().as_str(), parts.headers["content-type"].as_bytes()),
            ("/k", b"text/plain".as_slice())
        );
        // Only version 2 signs it as the header that it is.
        let parts = settled("/k?content-type=text%2Fplain", &[]).unwrap();
        assert_eq!((parts.uri.query(), parts.headers.len()), (Some("content-type=text%2Fplain"), 0));
    }

    #[test]
    fn the_checksum_of_no_body_is_not_that_of_one() {
        let (sum, named) = ("x-amz-checksum-crc32", SDK_ALGORITHM);
        let of_nothing = "/k?x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32";
        let has = |uri: &str, headers: &[(&'static str, &'static str)]| {
            let parts = settled(uri, headers).unwrap();
            assert_eq!(parts.uri, "/k", "{uri}");
            [sum, named].map(|name| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned()))
        };
        let both = |value: &str| [Some(value.to_owned()), Some("CRC32".to_owned())];
        assert_eq!(has(of_nothing, &[("content-length", "3")]), [None, None]);
        assert_eq!(has(of_nothing, &[]), [None, None]);
        assert_eq!(has(of_nothing, &[("content-length", "0")]), both("AAAAAA=="));
        // One of another body counts, and what is a header stays one.
        let other = of_nothing.replace("AAAAAA%3D%3D", "NSRBwg%3D%3D");
        assert_eq!(has(&other, &[("content-length", "3")]), both("NSRBwg=="));
        let headers = [("content-length", "3"), (sum, "AAAAAA=="), (named, "CRC32")];
        assert_eq!(has("/k?x-amz-acl=private", &headers), both("AAAAAA=="));
        let alone = "/k?x-amz-sdk-checksum-algorithm=CRC32";
        assert_eq!(has(alone, &[("content-length", "3")]), [None, None]);
        assert_eq!(has(alone, &[(sum, "NSRBwg==")]), both("NSRBwg=="));
        assert_eq!(has(alone, &[("x-amz-trailer", sum)]), [None, Some("CRC32".to_owned())]);
    }

    #[test]
    fn a_header_and_its_parameter_say_the_same() {
        assert!(settled("/k?x-amz-acl=private", &[("x-amz-acl", "private")]).is_ok());
        let refused = settled("/k?x-amz-acl=private", &[("x-amz-acl", "public-read")]);
        assert_eq!(refused.err(), Some(AuthError::GivenTwice("x-amz-acl".to_owned())));
        let refused = settled("/k?x-amz-acl=private&X-Amz-Acl=public-read", &[]);
        assert_eq!(refused.err(), Some(AuthError::GivenTwice("x-amz-acl".to_owned())));
        let narrowed =
            settled("/k?X-Amz-Content-Sha256=UNSIGNED-PAYLOAD", &[(CONTENT_SHA256, "00")]).unwrap();
        assert_eq!(narrowed.headers[CONTENT_SHA256], "00");
        let refused = settled("/k?X-Amz-Content-Sha256=11", &[(CONTENT_SHA256, "00")]);
        assert!(matches!(refused, Err(AuthError::GivenTwice(_))));
        assert!(matches!(settled("/k?x-amz-meta-a=%0A", &[]), Err(AuthError::NoHeaderValue(_))));
        assert!(matches!(settled("/k?x-amz-meta-a%20b=1", &[]), Err(AuthError::NoHeaderValue(_))));
    }
}
