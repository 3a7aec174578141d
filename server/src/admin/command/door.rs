//! Who may give commands: everybody at the socket in the data directory, and over TCP who signs with the
//! root key.
//!
//! Invariants:
//! - A signature is of version 4, in the header, and covers the whole body. It also covers the header
//!   [`MARK`], which no S3 request carries, so a signed S3 request that somebody copied is no command.
//! - What can not be verified is refused with 403, and nothing that it asks for is looked at.
//! - A signature that changes something counts once, so whoever sees one on the wire can not use it again.

use super::super::Peer;
use super::answer::Failure;
use crate::auth::signature::{CONTENT_SHA256, SKEW_MAX_S};
use crate::http::{Handler, HttpServer};
use crate::unix_time::now_s;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use std::cell::RefCell;
use std::collections::VecDeque;

/// The header that makes a signed request a command. All headers that begin like this must be signed.
pub const MARK: &str = "x-amz-ringbolt-command";
const VERSION_4: &[u8] = b"AWS4-HMAC-SHA256 ";
/// The most signatures that are remembered: emptying a bucket of some millions of versions has one for a
/// thousand.
const USED_MAX: usize = 20_000;
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
    let signature = match signature_of(&parts.headers) {
        Some(signature) => signature,
        None => {
            return Err(refused(
                "the Authorization header must have Credential, SignedHeaders and Signature once",
            ));
        }
    };
    let once = (parts.method != Method::GET).then_some(signature);
    let request = Request::from_parts(parts, Full::new(body));
    let signed = server.authenticator.authenticate(request, server.ids.next(), now_s());
    let signed = signed.map_err(|error| refused(&error.to_string()))?;
    let context = signed.request.extensions().get::<crate::auth::RequestContext>();
    if !context.and_then(|context| context.signer.as_ref()).is_some_and(|signer| signer.is_node_root) {
        return Err(refused("this key is not the root key"));
    }
    if let Some(signature) = once {
        use_once(signature, now_s())?;
    }
    let body = signed.request.into_body().collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|error| refused(&error.to_string()))
}

/// Returns the digits of the signature. None: the header could be written otherwise for the same
/// signature, so that it would count again.
fn signature_of(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let fields = value.to_str().ok()?.strip_prefix("AWS4-HMAC-SHA256 ")?;
    let mut found = [None; 3];
    for field in fields.split(',') {
        let (name, value) = field.trim().split_once('=')?;
        let known = ["Credential", "SignedHeaders", "Signature"].iter().position(|known| *known == name)?;
        if found[known].replace(value).is_some() {
            return None;
        }
    }
    let signature = found[2].filter(|_| found.iter().all(Option::is_some))?;
    let is_hash = signature.len() == 64 && signature.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| signature.to_ascii_lowercase().into_bytes())
}

thread_local! {
    /// The signatures that were used, oldest first, each with when it was, in Unix seconds. All commands
    /// are taken by one core.
    static USED: RefCell<VecDeque<(i64, Vec<u8>)>> = const { RefCell::new(VecDeque::new()) };
}

/// Notes that a signature was used. Fails if it was used before, or if too many were.
fn use_once(signature: Vec<u8>, now_s: i64) -> Result<(), Failure> {
    USED.with_borrow_mut(|used| {
        // A signature is valid for as long before its time as behind it.
        while used.front().is_some_and(|(at_s, _)| now_s - at_s > 2 * SKEW_MAX_S) {
            used.pop_front();
        }
        if used.iter().any(|(_, known)| *known == signature) {
            return Err(refused("this request was taken already: sign each one anew"));
        }
        if used.len() == USED_MAX {
            let what_to_do = "wait for some minutes, or run commands on the server's machine with --data";
            let error = "too many commands were signed within half an hour";
            return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, error, what_to_do));
        }
        used.push_back((now_s, signature));
        Ok(())
    })
}

fn refused(error: &str) -> Failure {
    // What to do follows in the same sentence.
    Failure::new(StatusCode::FORBIDDEN, error.trim_end_matches('.'), WHAT_TO_DO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_one_however_it_is_written() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, http::HeaderValue::from_str(text).unwrap());
            signature_of(&headers)
        };
        let hash = "0123456789abcdef".repeat(4);
        let plain = format!("AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature={hash}");
        assert_eq!(of(&plain), Some(hash.clone().into_bytes()));
        for other in [
            plain.replace(", ", ","),
            plain.replace(", ", " ,   "),
            plain.replace(&hash, &hash.to_ascii_uppercase()),
        ] {
            assert_eq!(of(&other), Some(hash.clone().into_bytes()), "{other}");
        }
        for refused in [
            format!("{plain},x=1"),
            format!("{plain}, Signature={hash}"),
            plain.replace("SignedHeaders=host, ", ""),
            plain.replace(&hash, &hash[1..]),
            plain.replace("SHA256 ", "SHA256  "),
        ] {
            // A space more before the first field is trimmed with it.
            let expected = refused.contains("SHA256  ").then(|| hash.clone().into_bytes());
            assert_eq!(of(&refused), expected, "{refused}");
        }
        let mut twice = HeaderMap::new();
        for _ in 0..2 {
            twice.append(AUTHORIZATION, http::HeaderValue::from_str(&plain).unwrap());
        }
        assert_eq!(signature_of(&twice), None);
    }

    #[test]
    fn a_signature_counts_once() {
        assert!(use_once(b"a".to_vec(), 1000).is_ok());
        assert!(use_once(b"b".to_vec(), 1001).is_ok());
        let again = use_once(b"a".to_vec(), 1002).expect_err("it was used");
        assert_eq!(again.status, StatusCode::FORBIDDEN);
        // By then nobody takes it any more, so it is forgotten.
        assert!(use_once(b"a".to_vec(), 1000 + 2 * SKEW_MAX_S + 1).is_ok());
        let later_s = 1000 + 2 * SKEW_MAX_S + 2;
        USED.with_borrow_mut(|used| used.resize(USED_MAX, (later_s, Vec::new())));
        let full = use_once(b"c".to_vec(), 1001 + 2 * SKEW_MAX_S).expect_err("there is no room");
        assert_eq!(full.status, StatusCode::SERVICE_UNAVAILABLE);
    }
}
