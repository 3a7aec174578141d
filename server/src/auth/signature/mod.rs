//! Verification of signature version 4, in the header and in the query.
//!
//! Invariants: a signature is compared in constant time; a signing key enters the cache only after a
//! request was verified with it; the cache is bounded and belongs to one core.

mod canonical;
mod claim;
mod date;

pub use self::date::RequestTime;

use self::canonical::{Canonical, Spelling, has_two_spellings};
use self::claim::{ALGORITHM, Claim, Credential};
use super::hash::{HmacKey, Sha256, equal_in_constant_time};
use super::{Account, Accounts, AuthError};
use http::request::Parts;
use http::uri::PathAndQuery;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

const SKEW_MAX_S: i64 = 15 * 60;
const CACHED_KEYS_MAX: usize = 1024;
pub const CONTENT_SHA256: &str = "x-amz-content-sha256";
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// The verifier of one core.
pub struct Verifier {
    accounts: Arc<Accounts>,
    region: String,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    canonical: Canonical,
    string_to_sign: Vec<u8>,
    keys: HashMap<Box<str>, SigningKey>,
}

#[derive(Clone)]
struct SigningKey {
    account: Arc<Account>,
    hmac: HmacKey,
}

/// A request whose signature holds: what is needed to verify its body.
pub struct Verified {
    pub account: Arc<Account>,
    pub chain: ChunkChain,
}

/// Signs the chunks of a streaming body, each with the signature before it.
#[derive(Clone)]
pub struct ChunkChain {
    hmac: HmacKey,
    /// `…date\nscope\n`, the same for every chunk.
    date_and_scope: String,
    previous: [u8; 64],
}

impl Verifier {
    pub fn new(accounts: Arc<Accounts>, region: String) -> Self {
        Self { accounts, region, state: RefCell::default() }
    }

    /// None: the request is anonymous. `now_s` is Unix time.
    pub fn verify(&self, parts: &Parts, now_s: i64) -> Result<Option<Verified>, AuthError> {
        let Some(claim) = claim::find(parts)? else { return Ok(None) };
        let credential = self.check_credential(&claim)?;
        check_time(&claim, credential.day, now_s)?;
        check_signed_headers(&claim, parts)?;
        let payload = payload_of(&claim, parts)?;
        let mut state = self.state.borrow_mut();
        let key = self.signing_key(&mut state, &claim.credential, credential)?;
        if !state.matches(&key, &claim, credential, parts, payload, Spelling::AsSent) {
            let other = has_two_spellings(parts);
            if !(other && state.matches(&key, &claim, credential, parts, payload, Spelling::Encoded)) {
                return Err(AuthError::SignatureDoesNotMatch);
            }
        }
        state.remember(&claim.credential, &key);
        // `matches` compared all 64 of them.
        let previous = claim.signature.as_bytes().try_into().map_err(|_| AuthError::SignatureDoesNotMatch)?;
        let date_and_scope = format!("{}\n{}\n", claim.time.text(), credential.scope);
        Ok(Some(Verified {
            account: key.account,
            chain: ChunkChain { hmac: key.hmac, date_and_scope, previous },
        }))
    }

    fn check_credential<'a>(&self, claim: &'a Claim<'_>) -> Result<Credential<'a>, AuthError> {
        let in_query = claim.expires_s.is_some();
        let malformed = |reason: String| match in_query {
            true => {
                AuthError::MalformedQuery(format!("Error parsing the X-Amz-Credential parameter; {reason}"))
            }
            false => AuthError::MalformedHeader(reason),
        };
        let credential = Credential::parse(&claim.credential).ok_or_else(|| {
            malformed("the Credential must be \"<access key>/YYYYMMDD/REGION/s3/aws4_request\"".to_owned())
        })?;
        if credential.service != "s3" {
            return Err(malformed(format!("incorrect service \"{}\"; this is \"s3\"", credential.service)));
        }
        if credential.region != self.region {
            let (given, expected) = (credential.region.to_owned(), self.region.clone());
            return Err(match in_query {
                true => AuthError::WrongQueryRegion { given, expected },
                false => AuthError::WrongRegion { given, expected },
            });
        }
        Ok(credential)
    }

    fn signing_key(
        &self,
        state: &mut State,
        text: &str,
        credential: Credential<'_>,
    ) -> Result<SigningKey, AuthError> {
        if let Some(key) = state.keys.get(text) {
            return Ok(key.clone());
        }
        let account =
            self.accounts.by_access_key(credential.access_key).ok_or(AuthError::InvalidAccessKeyId)?;
        let hmac = derive(&account.secret_key, credential);
        Ok(SigningKey { account: account.clone(), hmac })
    }
}

fn derive(secret_key: &str, credential: Credential<'_>) -> HmacKey {
    let first = HmacKey::new(format!("AWS4{secret_key}").as_bytes());
    [credential.day, credential.region, credential.service, "aws4_request"]
        .iter()
        .fold(first, |key, step| HmacKey::new(&key.sign(step.as_bytes())))
}

impl State {
    fn matches(
        &mut self,
        key: &SigningKey,
        claim: &Claim<'_>,
        credential: Credential<'_>,
        parts: &Parts,
        payload: &[u8],
        spelling: Spelling,
    ) -> bool {
        let canonical = self.canonical.request(parts, spelling, &claim.signed_headers, payload);
        let hash = Sha256::digest(canonical);
        let text = &mut self.string_to_sign;
        text.clear();
        for piece in [ALGORITHM, claim.time.text(), credential.scope] {
            text.extend_from_slice(piece.as_bytes());
            text.push(b'\n');
        }
        text.extend_from_slice(&to_hex(&hash));
        equal_in_constant_time(&to_hex(&key.hmac.sign(text)), claim.signature.as_bytes())
    }

    fn remember(&mut self, credential: &str, key: &SigningKey) {
        if self.keys.contains_key(credential) {
            return;
        }
        // Keys die with their day; a full cache is mostly yesterday's.
        if self.keys.len() >= CACHED_KEYS_MAX {
            self.keys.clear();
        }
        self.keys.insert(credential.into(), key.clone());
    }
}

fn check_time(claim: &Claim<'_>, day: &str, now_s: i64) -> Result<(), AuthError> {
    let text = || claim.time.text().to_owned();
    match claim.expires_s {
        None if (now_s - claim.time.unix_s).abs() > SKEW_MAX_S => {
            return Err(AuthError::RequestTimeTooSkewed(text()));
        }
        Some(_) if claim.time.unix_s > now_s + SKEW_MAX_S => return Err(AuthError::NotYetValid(text())),
        Some(seconds) if now_s > claim.time.unix_s + i64::from(seconds) => {
            let until = RequestTime::from_unix(claim.time.unix_s + i64::from(seconds));
            return Err(AuthError::Expired(until.map_or_else(String::new, |until| until.text().to_owned())));
        }
        _ => {}
    }
    if day != claim.time.day() {
        let reason = format!("the date in the credential scope, {day:?}, is not that of the request");
        return Err(match claim.expires_s {
            None => AuthError::MalformedHeader(reason),
            Some(_) => AuthError::MalformedQuery(reason),
        });
    }
    Ok(())
}

/// What is not signed could be changed on the way: the host and all headers with a meaning to S3 must be.
fn check_signed_headers(claim: &Claim<'_>, parts: &Parts) -> Result<(), AuthError> {
    let signed = |name: &str| claim.signed_headers.split(';').any(|signed| signed == name);
    if !signed("host") {
        return Err(AuthError::HeaderNotSigned("host".to_owned()));
    }
    for name in parts.headers.keys().map(http::HeaderName::as_str) {
        // A presigned upload may add the hash of its body later: it only narrows what is accepted.
        let exempt = claim.expires_s.is_some() && name == CONTENT_SHA256;
        if name.starts_with("x-amz-") && !exempt && !signed(name) {
            return Err(AuthError::HeaderNotSigned(name.to_owned()));
        }
    }
    Ok(())
}

/// The value that stands for the body in the canonical request.
fn payload_of<'a>(claim: &Claim<'_>, parts: &'a Parts) -> Result<&'a [u8], AuthError> {
    let header = parts.headers.get(CONTENT_SHA256).map(http::HeaderValue::as_bytes);
    match (claim.expires_s, header) {
        (None, Some(value)) => Ok(value),
        (None, None) => Err(AuthError::MissingHeader(CONTENT_SHA256)),
        (Some(_), Some(value)) if claim.signed_headers.split(';').any(|name| name == CONTENT_SHA256) => {
            Ok(value)
        }
        (Some(_), _) => Ok(UNSIGNED_PAYLOAD.as_bytes()),
    }
}

impl ChunkChain {
    /// Of a request with the signature `previous`; for tests and fuzzing, which have none.
    pub(crate) fn new(hmac: HmacKey, date_and_scope: &str, previous: [u8; 64]) -> Self {
        Self { hmac, date_and_scope: date_and_scope.to_owned(), previous }
    }

    /// Whether `signature` is that of the next chunk, with `hash` the SHA-256 of its data.
    pub fn verify_chunk(&mut self, hash: &[u8; 32], signature: &[u8]) -> Result<(), AuthError> {
        const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        self.verify("AWS4-HMAC-SHA256-PAYLOAD", &[EMPTY.as_bytes(), b"\n", &to_hex(hash)], signature)
    }

    /// Whether `signature` is that of the trailers, with `hash` the SHA-256 of their canonical text.
    pub fn verify_trailers(&mut self, hash: &[u8; 32], signature: &[u8]) -> Result<(), AuthError> {
        self.verify("AWS4-HMAC-SHA256-TRAILER", &[&to_hex(hash)], signature)
    }

    fn verify(&mut self, kind: &str, hashes: &[&[u8]], signature: &[u8]) -> Result<(), AuthError> {
        let mut text = Vec::with_capacity(320);
        for piece in [kind.as_bytes(), b"\n", self.date_and_scope.as_bytes(), &self.previous, b"\n"] {
            text.extend_from_slice(piece);
        }
        hashes.iter().for_each(|hash| text.extend_from_slice(hash));
        let expected = to_hex(&self.hmac.sign(&text));
        if !equal_in_constant_time(&expected, signature) {
            return Err(AuthError::SignatureDoesNotMatch);
        }
        self.previous = expected;
        Ok(())
    }
}

fn to_hex(bytes: &[u8; 32]) -> [u8; 64] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}

/// Takes what belongs to the signature out of the request: behind this room it is plain.
pub fn strip(parts: &mut Parts) {
    parts.headers.remove(http::header::AUTHORIZATION);
    let Some(query) = parts.uri.query().filter(|query| query.contains("X-Amz-")) else { return };
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| !claim::QUERY_PARAMETERS.contains(&pair.split('=').next().unwrap_or("")))
        .collect();
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

#[cfg(test)]
mod tests;
