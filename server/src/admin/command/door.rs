//! Who may give commands: everybody at the socket in the data directory, and over TCP who signs with the
//! root key.
//!
//! Invariants:
//! - A signature is of version 4, in the header, and covers the whole body. It also covers the header
//!   [`MARK`], which no S3 request carries, so a signed S3 request that somebody copied is no command.
//! - What can not be verified is refused with 403, before anything else is looked at.

use super::super::Peer;
use super::answer::Failure;
use crate::auth::signature::CONTENT_SHA256;
use crate::http::{Handler, HttpServer};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use std::time::{SystemTime, UNIX_EPOCH};

/// The header that makes a signed request a command. All headers that begin like this must be signed.
pub const MARK: &str = "x-amz-ringbolt-command";
const VERSION_4: &[u8] = b"AWS4-HMAC-SHA256 ";
const WHAT_TO_DO: &str = "sign with the root key (RINGBOLT_ACCESS_KEY and RINGBOLT_SECRET_KEY of the first account), \
                          or run the command on the server's machine with --data";

/// Lets a command in, and returns its body.
///
/// # Errors
/// Returns a failure with status 403.
pub async fn admit<H: Handler>(
    server: &HttpServer<H>,
    peer: Peer,
    parts: Parts,
    body: Bytes,
) -> Result<Bytes, Failure> {
    match peer {
        Peer::Socket => Ok(body),
        Peer::Address => verify(server, parts, body).await,
    }
}

async fn verify<H: Handler>(server: &HttpServer<H>, parts: Parts, body: Bytes) -> Result<Bytes, Failure> {
    let header = |name: &str| parts.headers.get(name).map(http::HeaderValue::as_bytes);
    if !header(AUTHORIZATION.as_str()).is_some_and(|value| value.starts_with(VERSION_4)) {
        return Err(refused("commands over TCP must be signed with version 4, in the Authorization header"));
    }
    if header(MARK).is_none() {
        return Err(refused(&format!("a command must have the header {MARK}, and sign it")));
    }
    let is_hash = |value: &[u8]| value.len() == 64 && value.iter().all(u8::is_ascii_hexdigit);
    if !header(CONTENT_SHA256).is_some_and(is_hash) {
        return Err(refused(&format!("{CONTENT_SHA256} must be the SHA-256 of the body")));
    }
    let request = Request::from_parts(parts, Full::new(body));
    let signed = server.authenticator.authenticate(request, server.ids.next(), unix_seconds());
    let signed = signed.map_err(|error| refused(&error.to_string()))?;
    let context = signed.request.extensions().get::<crate::auth::RequestContext>();
    let account = context.and_then(|context| context.account.clone());
    if !account.is_some_and(|account| server.authenticator.is_root(&account)) {
        return Err(refused("this key is not the root key"));
    }
    let body = signed.request.into_body().collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|error| refused(&error.to_string()))
}

fn refused(error: &str) -> Failure {
    Failure::new(StatusCode::FORBIDDEN, error, WHAT_TO_DO)
}

fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
