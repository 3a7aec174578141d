//! What a request says about its signature, in the Authorization header or in the query
//! (presigned).
//!
//! Invariants:
//! - A request has one signature or none.
//! - None of the parameters that belong to a signature comes twice, so that what is verified here
//!   is what everybody else would read.

use super::parameters::{pairs, parameter, time_of};
use super::request_time::RequestTime;
use super::version_2;
use crate::auth::AuthError;
use http::HeaderMap;
use http::request::Parts;
use std::borrow::Cow;

/// The name of the one algorithm of version 4 that is accepted.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const EXPIRES_MAX_S: u32 = 604_800;

/// The parameters of the query that belong to the signature. The handlers do not see them.
pub const QUERY_PARAMETERS: [&str; 7] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
];

/// A signature of version 4 that was parsed and is not verified yet.
#[derive(Debug)]
pub struct Claim<'a> {
    /// The credential as it was sent: `ACCESSKEY/20130524/us-east-1/s3/aws4_request`.
    pub credential: Cow<'a, str>,
    /// The names of the signed headers as they were sent, in lower case and joined by `;`.
    pub signed_headers: Cow<'a, str>,
    /// The signature, in hexadecimal.
    pub signature: Cow<'a, str>,
    pub time: RequestTime,
    /// How long a presigned request is valid, in seconds. None for a signature in the header.
    pub expires_s: Option<u32>,
}

/// A signature of either version that was parsed and is not verified yet.
#[derive(Debug)]
pub enum Signature<'a> {
    Version2(version_2::Claim<'a>),
    Version4(Claim<'a>),
}

/// Finds and parses the signature of a request. Returns None if the request is anonymous; fails if
/// it has several signatures, or a malformed one.
pub fn find(parts: &Parts) -> Result<Option<Signature<'_>>, AuthError> {
    let query = parts.uri.query().unwrap_or_default();
    let has = |name: &str| pairs(query).any(|(key, _)| key == name);
    let in_query_4 = has("X-Amz-Signature") || has("X-Amz-Credential");
    let in_query_2 = has("AWSAccessKeyId") || has("Signature");
    let mut values =
        parts.headers.get_all(http::header::AUTHORIZATION).iter().filter(|value| !value.is_empty());
    let header = values.next();
    if values.next().is_some()
        || [header.is_some(), in_query_4, in_query_2].iter().filter(|is| **is).count() > 1
    {
        return Err(AuthError::SeveralMechanisms);
    }
    if let Some(value) = header {
        let text = value.to_str().map_err(|_| malformed("it has characters outside ASCII"))?;
        return from_header(text, &parts.headers).map(Some);
    }
    if in_query_4 {
        return from_query(query).map(|claim| Some(Signature::Version4(claim)));
    }
    if in_query_2 {
        return version_2::Claim::from_query(query).map(|claim| Some(Signature::Version2(claim)));
    }
    Ok(None)
}

fn malformed(reason: &str) -> AuthError {
    AuthError::MalformedHeader(reason.to_owned())
}

fn from_header<'a>(text: &'a str, headers: &HeaderMap) -> Result<Signature<'a>, AuthError> {
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    match scheme {
        ALGORITHM => {}
        "AWS" => return version_2::Claim::from_header(rest, headers).map(Signature::Version2),
        // This is version 4 with asymmetric keys.
        "AWS4-ECDSA-P256-SHA256" => return Err(AuthError::UnsupportedMechanism),
        _ => return Err(AuthError::UnsupportedScheme(scheme.chars().take(40).collect())),
    }
    let (mut credential, mut signed_headers, mut signature) = (None, None, None);
    for field in rest.split(',') {
        let slot = match field.trim().split_once('=') {
            Some(("Credential", value)) => credential.replace(value),
            Some(("SignedHeaders", value)) => signed_headers.replace(value),
            Some(("Signature", value)) => signature.replace(value),
            _ => None,
        };
        if slot.is_some() {
            return Err(malformed("one of its fields is given twice"));
        }
    }
    let missing = |name| AuthError::MalformedHeader(format!("the field {name} is missing"));
    Ok(Signature::Version4(Claim {
        credential: Cow::Borrowed(credential.ok_or_else(|| missing("Credential"))?),
        signed_headers: Cow::Borrowed(signed_headers.ok_or_else(|| missing("SignedHeaders"))?),
        signature: Cow::Borrowed(signature.ok_or_else(|| missing("Signature"))?),
        time: time_of(headers)?,
        expires_s: None,
    }))
}

fn from_query(query: &str) -> Result<Claim<'_>, AuthError> {
    let get = |name: &str| -> Result<Cow<'_, str>, AuthError> {
        parameter(query, name)?.ok_or_else(|| {
            AuthError::MalformedQuery(format!("Query-string authentication needs the parameter {name}"))
        })
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
