//! Signature version 2: HMAC-SHA-1 with the secret key itself, in the header or in the query.
//! Source: "Signing and authenticating REST requests" in the appendix of the Amazon S3 API
//! reference.
//!
//! Version 2 signs neither all headers nor all of the query.
//!
//! Invariant: what chooses the operation, or changes what is stored, is signed: all `x-amz-*`,
//! wherever it stands, and every subresource that this server knows. What is left (ranges,
//! conditions, pages of listings) is the caller's choice, as it was meant.

use super::canonical::encode_again;
use super::parameters::{pairs, parameter, time_of};
use super::request_time::RequestTime;
use crate::auth::AuthError;
use crate::auth::hash::{equal_in_constant_time, hmac_sha1};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderMap;
use http::header::DATE;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// The parameters of the query that belong to the signature. The handlers do not see them.
pub const QUERY_PARAMETERS: [&str; 3] = ["AWSAccessKeyId", "Signature", "Expires"];
/// The headers without `x-amz-` that signers put into the query. They are signed, and count there
/// as they do as headers.
pub const HOISTED: [&str; 2] = ["content-md5", "content-type"];

/// The parameters of the query that are signed.
const SUBRESOURCES: &[&str] = &[
    "accelerate",
    "acl",
    "analytics",
    "attributes",
    "cors",
    "defaultObjectAcl",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "partNumber",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "retention",
    "select",
    "select-type",
    "session",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// A signature of version 2 that was parsed and is not verified yet.
#[derive(Debug)]
pub struct Claim<'a> {
    pub access_key: Cow<'a, str>,
    /// The decoded signature. It is empty if what was sent is no base64, which no signature is.
    signature: Vec<u8>,
    pub when: When<'a>,
}

/// The time of the signature: when it was made, or when it expires.
#[derive(Debug)]
pub enum When<'a> {
    Signed(RequestTime),
    Expires { text: Cow<'a, str>, unix_s: i64 },
}

/// How the signer wrote what the wire allows to be written in several ways.
#[derive(Clone, Copy, Debug)]
struct Spelling {
    /// The path was signed byte for byte, and otherwise as version 4 encodes it.
    as_sent: bool,
    /// A subresource without a value was signed without `=`, whatever was sent.
    bare: bool,
    /// The path of a bucket was signed with a slash at its end, whatever was sent.
    slash: bool,
}

/// Returns all spellings, the one that was sent first.
fn spellings() -> impl Iterator<Item = Spelling> {
    (0..8).map(|bits| Spelling { as_sent: bits & 1 == 0, bare: bits & 2 != 0, slash: bits & 4 != 0 })
}

impl<'a> Claim<'a> {
    /// Parses the signature in an Authorization header. `text` is what follows the scheme.
    pub fn from_header(text: &'a str, headers: &HeaderMap) -> Result<Self, AuthError> {
        let Some((access_key, signature)) = text.trim().split_once(':').filter(|(key, _)| !key.is_empty())
        else {
            let reason = "it must be \"AWS <access key>:<signature>\"".to_owned();
            return Err(AuthError::MalformedHeader(reason));
        };
        let signature = BASE64.decode(signature).unwrap_or_default();
        let when = When::Signed(time_of(headers)?);
        Ok(Self { access_key: Cow::Borrowed(access_key), signature, when })
    }

    /// Parses the signature of a presigned request. Fails if a parameter is missing or malformed.
    pub fn from_query(query: &'a str) -> Result<Self, AuthError> {
        let get = |name: &str| {
            parameter(query, name)?.ok_or_else(|| AuthError::MalformedQuery2(format!("{name} is missing")))
        };
        let (access_key, signature, text) = (get("AWSAccessKeyId")?, get("Signature")?, get("Expires")?);
        let unix_s = text.parse().ok().filter(|seconds| *seconds >= 0).ok_or_else(|| {
            let given: String = text.chars().take(40).collect();
            AuthError::MalformedQuery2(format!("Expires is {given:?}, not a number of seconds since 1970"))
        })?;
        let signature = BASE64.decode(signature.as_bytes()).unwrap_or_default();
        Ok(Self { access_key, signature, when: When::Expires { text, unix_s } })
    }

    /// Returns whether the signature is right in any spelling. `bucket` is the one that the host
    /// names, if it names one.
    pub fn matches(&self, secret_key: &[u8], parts: &Parts, bucket: Option<&str>) -> bool {
        spellings().any(|spelling| {
            let text = self.string_to_sign(parts, bucket, spelling);
            equal_in_constant_time(&hmac_sha1(secret_key, &text), &self.signature)
        })
    }

    fn string_to_sign(&self, parts: &Parts, bucket: Option<&str>, spelling: Spelling) -> Vec<u8> {
        let query = parts.uri.query().unwrap_or_default();
        let mut text = Vec::with_capacity(256);
        push_line(parts.method.as_str().as_bytes(), &mut text);
        for name in HOISTED {
            match (parts.headers.get(name), &self.when) {
                (Some(value), _) => push_line(value.as_bytes().trim_ascii(), &mut text),
                (None, When::Expires { .. }) => push_line(&hoisted(query, name), &mut text),
                (None, When::Signed(_)) => push_line(b"", &mut text),
            }
        }
        match &self.when {
            When::Expires { text: expires, .. } => push_line(expires.as_bytes(), &mut text),
            // The date is signed among the `x-amz-*` headers then.
            When::Signed(_) if parts.headers.contains_key("x-amz-date") => push_line(b"", &mut text),
            When::Signed(_) => {
                push_line(parts.headers.get(DATE).map_or(b"".as_slice(), |date| date.as_bytes()), &mut text);
            }
        }
        push_amz_headers(&parts.headers, query, &mut text);
        push_resource(parts.uri.path(), query, bucket, spelling, &mut text);
        text
    }
}

fn push_line(line: &[u8], text: &mut Vec<u8>) {
    text.extend_from_slice(line);
    text.push(b'\n');
}

fn hoisted(query: &str, name: &str) -> Vec<u8> {
    let value = pairs(query).find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value);
    decoded(value)
}

/// Decodes a value of the query as the handlers will read it: a plus sign is a space. So what is
/// verified is what is used.
fn decoded(value: &str) -> Vec<u8> {
    percent_decode_str(&value.replace('+', " ")).collect()
}

/// Writes all `x-amz-*` of headers and query, sorted by name.
fn push_amz_headers(headers: &HeaderMap, query: &str, text: &mut Vec<u8>) {
    let mut list: Vec<(String, Vec<u8>)> = Vec::new();
    for name in headers.keys().filter(|name| name.as_str().starts_with("x-amz-")) {
        let values: Vec<&[u8]> =
            headers.get_all(name).iter().map(|value| value.as_bytes().trim_ascii()).collect();
        list.push((name.as_str().to_owned(), values.join(&b',')));
    }
    for (name, value) in pairs(query) {
        let name = name.to_ascii_lowercase();
        // If it is a header too, that must say the same, which is checked later.
        if name.starts_with("x-amz-") && !headers.contains_key(&name) {
            list.push((name, decoded(value)));
        }
    }
    list.sort();
    for (name, value) in list {
        text.extend_from_slice(name.as_bytes());
        text.push(b':');
        push_line(&value, text);
    }
}

fn push_resource(path: &str, query: &str, bucket: Option<&str>, spelling: Spelling, text: &mut Vec<u8>) {
    if let Some(bucket) = bucket {
        text.push(b'/');
        text.extend_from_slice(bucket.as_bytes());
    }
    match spelling.as_sent {
        true => text.extend_from_slice(path.as_bytes()),
        false => encode_again(path.as_bytes(), true, text),
    }
    if spelling.slash && bucket.is_none() && path.len() > 1 && path.rfind('/') == Some(0) {
        text.push(b'/');
    }
    let mut signed: Vec<(Cow<'_, str>, Option<Vec<u8>>)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').map_or((pair, None), |(name, value)| (name, Some(value)));
        let name = percent_decode_str(name).decode_utf8_lossy();
        if !SUBRESOURCES.contains(&name.as_ref()) {
            continue;
        }
        let value = value.filter(|value| !spelling.bare || !value.is_empty()).map(decoded);
        signed.push((name, value));
    }
    signed.sort();
    for (index, (name, value)) in signed.iter().enumerate() {
        text.push(if index == 0 { b'?' } else { b'&' });
        text.extend_from_slice(name.as_bytes());
        if let Some(value) = value {
            text.push(b'=');
            text.extend_from_slice(value);
        }
    }
}

#[cfg(test)]
mod tests;
