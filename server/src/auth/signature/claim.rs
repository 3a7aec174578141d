//! What a request says about its signature: in the Authorization header, or in the query (presigned).

use super::date::RequestTime;
use crate::auth::AuthError;
use http::HeaderMap;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const EXPIRES_MAX_S: u32 = 604_800;

/// Parameters of the query that belong to the signature, and are gone behind this room.
pub const QUERY_PARAMETERS: [&str; 7] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
];

/// A parsed, not yet believed, signature.
#[derive(Debug)]
pub struct Claim<'a> {
    /// `ACCESSKEY/20130524/us-east-1/s3/aws4_request`, as sent.
    pub credential: Cow<'a, str>,
    /// Lower-case names joined by `;`, as sent.
    pub signed_headers: Cow<'a, str>,
    /// Hexadecimal.
    pub signature: Cow<'a, str>,
    pub time: RequestTime,
    /// Seconds a presigned request is valid; None for a signature in the header.
    pub expires_s: Option<u32>,
}

/// The parts of a credential. `scope` is everything after the access key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential<'a> {
    pub access_key: &'a str,
    pub scope: &'a str,
    pub day: &'a str,
    pub region: &'a str,
    pub service: &'a str,
}

impl<'a> Credential<'a> {
    pub fn parse(text: &'a str) -> Option<Self> {
        let (access_key, scope) = text.split_once('/')?;
        let mut parts = scope.split('/');
        let (day, region, service) = (parts.next()?, parts.next()?, parts.next()?);
        if access_key.is_empty() || parts.next() != Some("aws4_request") || parts.next().is_some() {
            return None;
        }
        Some(Self { access_key, scope, day, region, service })
    }
}

/// None: the request is anonymous.
pub fn find(parts: &Parts) -> Result<Option<Claim<'_>>, AuthError> {
    if let Some(value) = parts.headers.get(http::header::AUTHORIZATION).filter(|value| !value.is_empty()) {
        let text = value.to_str().map_err(|_| malformed("it has characters outside ASCII"))?;
        return from_header(text, &parts.headers).map(Some);
    }
    let Some(query) = parts.uri.query() else { return Ok(None) };
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    if has("X-Amz-Signature") || has("X-Amz-Credential") {
        return from_query(query).map(Some);
    }
    if has("AWSAccessKeyId") && has("Signature") {
        return Err(AuthError::UnsupportedMechanism);
    }
    Ok(None)
}

fn malformed(reason: &str) -> AuthError {
    AuthError::MalformedHeader(reason.to_owned())
}

fn from_header<'a>(text: &'a str, headers: &HeaderMap) -> Result<Claim<'a>, AuthError> {
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    match scheme {
        ALGORITHM => {}
        // Version 2, and version 4 with asymmetric keys.
        "AWS" | "AWS4-ECDSA-P256-SHA256" => return Err(AuthError::UnsupportedMechanism),
        _ => return Err(AuthError::UnsupportedScheme(scheme.chars().take(40).collect())),
    }
    let (mut credential, mut signed_headers, mut signature) = (None, None, None);
    for field in rest.split(',') {
        match field.trim().split_once('=') {
            Some(("Credential", value)) => credential = Some(value),
            Some(("SignedHeaders", value)) => signed_headers = Some(value),
            Some(("Signature", value)) => signature = Some(value),
            _ => {}
        }
    }
    let missing = |name| AuthError::MalformedHeader(format!("the field {name} is missing"));
    Ok(Claim {
        credential: Cow::Borrowed(credential.ok_or_else(|| missing("Credential"))?),
        signed_headers: Cow::Borrowed(signed_headers.ok_or_else(|| missing("SignedHeaders"))?),
        signature: Cow::Borrowed(signature.ok_or_else(|| missing("Signature"))?),
        time: time_of(headers)?,
        expires_s: None,
    })
}

fn time_of(headers: &HeaderMap) -> Result<RequestTime, AuthError> {
    let value = headers.get("x-amz-date").or_else(|| headers.get(http::header::DATE));
    let text = value.map_or("", |value| value.to_str().unwrap_or(""));
    // A signer can not name a time before 1970: its clock is not a few minutes off, the value is wrong.
    RequestTime::parse(text)
        .filter(|time| time.unix_s >= 0)
        .ok_or_else(|| AuthError::BadDate(text.chars().take(40).collect()))
}

fn from_query(query: &str) -> Result<Claim<'_>, AuthError> {
    let get = |name: &str| -> Result<Cow<'_, str>, AuthError> {
        let pair = query.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name));
        let error =
            || AuthError::MalformedQuery(format!("Query-string authentication needs the parameter {name}"));
        let (_, value) = pair.ok_or_else(error)?;
        percent_decode_str(value).decode_utf8().map_err(|_| error())
    };
    if get("X-Amz-Algorithm")? != ALGORITHM {
        return Err(AuthError::MalformedQuery(format!("X-Amz-Algorithm only supports \"{ALGORITHM}\"")));
    }
    let date = get("X-Amz-Date")?;
    let time = RequestTime::parse_basic(&date).filter(|time| time.unix_s >= 0).ok_or_else(|| {
        AuthError::MalformedQuery("X-Amz-Date must be in the ISO8601 format yyyyMMdd'T'HHmmss'Z'".to_owned())
    })?;
    let expires = get("X-Amz-Expires")?;
    let expires_s = expires.parse().ok().filter(|seconds| (1..=EXPIRES_MAX_S).contains(seconds));
    let expires_s = expires_s.ok_or_else(|| AuthError::BadExpires {
        given: expires.chars().take(40).collect(),
        max_s: EXPIRES_MAX_S,
    })?;
    Ok(Claim {
        credential: get("X-Amz-Credential")?,
        signed_headers: get("X-Amz-SignedHeaders")?,
        signature: get("X-Amz-Signature")?,
        time,
        expires_s: Some(expires_s),
    })
}
