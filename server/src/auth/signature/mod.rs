//! Verification of signatures of version 4 and version 2, in the header and in the query.
//!
//! Invariants:
//! - A signature is compared in constant time.
//! - A signing key enters the cache only after a request was verified with it.
//! - The cache is bounded and belongs to one core. It is emptied when an identity changes, so that a key
//!   or user that was disabled or removed fails with the next request.

mod canonical;
mod claim;
mod credential;
mod parameters;
mod request_time;
mod strip;
mod version_2;

pub use self::credential::{Credential, CredentialSource};
pub use self::request_time::RequestTime;
pub use self::strip::strip_signature;

use self::canonical::{Canonical, host_without_port, spellings};
use self::claim::{ALGORITHM, Claim, Signature};
use self::version_2::When;
use super::AuthError;
use super::hash::{HmacKey, Sha256, equal_in_constant_time};
use crate::host::Domains;
use crate::identity::{AccessKey, Identity, Signer};
use http::request::Parts;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// How far the time of a signature may lie from this node's, in seconds.
pub const SKEW_MAX_S: i64 = 15 * 60;
const CACHED_KEYS_MAX: usize = 1024;
/// The header that says how the body is signed.
pub const CONTENT_SHA256: &str = "x-amz-content-sha256";
/// The value of that header for a body that is not signed.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
/// The same header as presigners write it in the query.
const CONTENT_SHA256_IN_QUERY: &str = "X-Amz-Content-Sha256";

/// Verifies the signatures of the requests of one core.
pub struct Verifier {
    identity: Rc<Identity>,
    region: String,
    version_2: bool,
    /// The domains under which a host names a bucket, which version 2 signs.
    domains: Option<Domains>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    canonical: Canonical,
    string_to_sign: Vec<u8>,
    keys: HashMap<Box<str>, SigningKey>,
    /// The version of the identities that the keys are of.
    version: u64,
}

#[derive(Clone)]
struct SigningKey {
    signer: Arc<Signer>,
    key: Arc<AccessKey>,
    hmac: HmacKey,
}

/// What is known of a request whose signature was verified.
pub struct Verified {
    pub signer: Arc<Signer>,
    pub signed: Signed,
    /// Verifies the chunks of the body. None for version 2, which signs none.
    pub chain: Option<ChunkChain>,
}

/// How a request was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    pub by_version_2: bool,
    pub place: SignaturePlace,
    /// When it was signed, in Unix seconds, if the signature says so.
    pub at_s: Option<i64>,
}

/// Where the signature of a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignaturePlace {
    Header,
    Query,
    Form,
}

impl SignaturePlace {
    /// Returns the name that policies have for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Header => "REST-HEADER",
            Self::Query => "REST-QUERY-STRING",
            Self::Form => "POST",
        }
    }
}

impl Signed {
    /// Returns the name that policies have for the version of the signature.
    pub fn version(self) -> &'static str {
        if self.by_version_2 { "AWS" } else { ALGORITHM }
    }
}

/// The signatures of the chunks of one body: each chunk is signed together with the signature
/// before it.
#[derive(Clone)]
pub struct ChunkChain {
    hmac: HmacKey,
    /// The text `date\nscope\n`, which is the same for every chunk.
    date_and_scope: String,
    previous: [u8; 64],
}

impl Verifier {
    /// Makes a verifier that accepts both signature versions.
    pub fn new(identity: Rc<Identity>, region: String) -> Self {
        Self { identity, region, version_2: true, domains: None, state: RefCell::default() }
    }

    /// Sets whether version 2 is accepted, and under which domains a host names a bucket.
    pub(crate) fn with_version_2(self, version_2: bool, domains: Option<Domains>) -> Self {
        Self { version_2, domains, ..self }
    }

    /// Returns the region that requests must be signed for.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Verifies the signature of a request. `now_s` is Unix time in seconds. Returns None if the
    /// request is anonymous.
    pub fn verify(&self, parts: &Parts, now_s: i64) -> Result<Option<Verified>, AuthError> {
        match claim::find(parts)? {
            None => Ok(None),
            Some(Signature::Version4(claim)) => self.verify_4(&claim, parts, now_s).map(Some),
            Some(Signature::Version2(_)) if !self.version_2 => Err(AuthError::Version2Off),
            Some(Signature::Version2(claim)) => self.verify_2(&claim, parts, now_s).map(Some),
        }
    }

    fn verify_4(&self, claim: &Claim<'_>, parts: &Parts, now_s: i64) -> Result<Verified, AuthError> {
        let place =
            if claim.expires_s.is_some() { CredentialSource::Parameter } else { CredentialSource::Header };
        let credential = Credential::parse(&claim.credential, &self.region, place)?;
        check_time(claim, credential.day, now_s)?;
        check_signed_headers(claim, parts)?;
        let payload = payload_of(claim, parts)?;
        let mut state = self.state.borrow_mut();
        let key = self.signing_key(&mut state, &claim.credential, credential)?;
        if !state.matches_in_any_form(&key, claim, credential, parts, &payload) {
            return Err(AuthError::SignatureDoesNotMatch);
        }
        state.remember(&claim.credential, &key);
        key.key.use_at(now_s.unsigned_abs());
        // The comparison above saw that there are 64 digits.
        let previous = claim.signature.as_bytes().try_into().map_err(|_| AuthError::SignatureDoesNotMatch)?;
        let date_and_scope = format!("{}\n{}\n", claim.time.text(), credential.scope);
        let chain = Some(ChunkChain { hmac: key.hmac, date_and_scope, previous });
        let place = if claim.expires_s.is_some() { SignaturePlace::Query } else { SignaturePlace::Header };
        let signed = Signed { by_version_2: false, place, at_s: Some(claim.time.unix_s) };
        Ok(Verified { signer: key.signer, signed, chain })
    }

    fn verify_2(
        &self,
        claim: &version_2::Claim<'_>,
        parts: &Parts,
        now_s: i64,
    ) -> Result<Verified, AuthError> {
        match &claim.when {
            When::Signed(time) if (now_s - time.unix_s).abs() > SKEW_MAX_S => {
                return Err(AuthError::RequestTimeTooSkewed(time.text().to_owned()));
            }
            When::Expires { unix_s, .. } if now_s > *unix_s => {
                let until = RequestTime::from_unix(*unix_s);
                return Err(AuthError::Expired(
                    until.map_or_else(String::new, |until| until.text().to_owned()),
                ));
            }
            _ => {}
        }
        let found = self.identity.find(&claim.access_key).ok_or(AuthError::InvalidAccessKeyId)?;
        let host = parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
        let bucket = self.domains.as_ref().zip(host).and_then(|(domains, host)| domains.bucket_of(host));
        if !claim.matches(&found.secret, parts, bucket.as_deref()) {
            return Err(AuthError::SignatureDoesNotMatch);
        }
        found.key.use_at(now_s.unsigned_abs());
        let (place, at_s) = match &claim.when {
            When::Signed(time) => (SignaturePlace::Header, Some(time.unix_s)),
            When::Expires { .. } => (SignaturePlace::Query, None),
        };
        let signed = Signed { by_version_2: true, place, at_s };
        Ok(Verified { signer: Arc::new(found.signer), signed, chain: None })
    }

    fn signing_key(
        &self,
        state: &mut State,
        text: &str,
        credential: Credential<'_>,
    ) -> Result<SigningKey, AuthError> {
        let version = self.identity.version();
        if state.version != version {
            state.keys.clear();
            state.version = version;
        }
        if let Some(key) = state.keys.get(text) {
            return Ok(key.clone());
        }
        let found = self.identity.find(credential.access_key).ok_or(AuthError::InvalidAccessKeyId)?;
        let hmac = credential.signing_key(&found.secret);
        // The signer is this core's own, so that cores do not share the count of its users.
        Ok(SigningKey { signer: Arc::new(found.signer), key: found.key, hmac })
    }
}

impl State {
    /// Returns whether the signature is right in any spelling: signers differ where the wire allows
    /// several, and some leave the port out of the host.
    fn matches_in_any_form(
        &mut self,
        key: &SigningKey,
        claim: &Claim<'_>,
        credential: Credential<'_>,
        parts: &Parts,
        payload: &[u8],
    ) -> bool {
        let hosts = [None, host_without_port(&parts.headers)];
        hosts.into_iter().enumerate().any(|(number, host)| {
            (number == 0 || host.is_some())
                && spellings(parts).iter().any(|spelling| {
                    let canonical =
                        self.canonical.request(parts, *spelling, (&claim.signed_headers, host), payload);
                    let hash = Sha256::digest(canonical);
                    self.matches(key, claim, credential, &hash)
                })
        })
    }

    /// Returns whether the signature is right for a canonical request with this SHA-256.
    fn matches(
        &mut self,
        key: &SigningKey,
        claim: &Claim<'_>,
        credential: Credential<'_>,
        hash: &[u8; 32],
    ) -> bool {
        let text = &mut self.string_to_sign;
        text.clear();
        for piece in [ALGORITHM, claim.time.text(), credential.scope] {
            text.extend_from_slice(piece.as_bytes());
            text.push(b'\n');
        }
        text.extend_from_slice(&to_hex(hash));
        equal_in_constant_time(&to_hex(&key.hmac.sign(text)), claim.signature.as_bytes())
    }

    fn remember(&mut self, credential: &str, key: &SigningKey) {
        if self.keys.contains_key(credential) {
            return;
        }
        // Keys are valid for a day; most of those in a full cache are yesterday's.
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

/// Fails unless the host and all headers with a meaning to S3 are signed: others could be changed
/// on the way.
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

/// Returns the value that stands for the body in the canonical request.
fn payload_of<'a>(claim: &Claim<'_>, parts: &'a Parts) -> Result<Cow<'a, [u8]>, AuthError> {
    let header = parts.headers.get(CONTENT_SHA256).map(http::HeaderValue::as_bytes);
    match (claim.expires_s, header) {
        (None, Some(value)) => Ok(Cow::Borrowed(value)),
        (None, None) => Err(AuthError::MissingHeader(CONTENT_SHA256)),
        (Some(_), Some(value)) if claim.signed_headers.split(';').any(|name| name == CONTENT_SHA256) => {
            Ok(Cow::Borrowed(value))
        }
        (Some(_), _) => {
            let query = parts.uri.query().unwrap_or_default();
            let value = parameters::parameter(query, CONTENT_SHA256_IN_QUERY)?;
            Ok(Cow::Owned(
                value.map_or_else(|| UNSIGNED_PAYLOAD.into(), |value| value.into_owned().into_bytes()),
            ))
        }
    }
}

impl ChunkChain {
    /// Begins the chain of a request with the signature `previous`. It is for tests and fuzzing,
    /// which have no request.
    pub(crate) fn new(hmac: HmacKey, date_and_scope: &str, previous: [u8; 64]) -> Self {
        Self { hmac, date_and_scope: date_and_scope.to_owned(), previous }
    }

    /// Verifies the signature of the next chunk. `hash` is the SHA-256 of its data.
    pub fn verify_chunk(&mut self, hash: &[u8; 32], signature: &[u8]) -> Result<(), AuthError> {
        const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        self.verify("AWS4-HMAC-SHA256-PAYLOAD", &[EMPTY.as_bytes(), b"\n", &to_hex(hash)], signature)
    }

    /// Verifies the signature of the trailers. `hash` is the SHA-256 of their canonical text.
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
    let mut text = [0; 64];
    // It fails only if the text has not two characters for each byte.
    let _ = hex::encode_to_slice(bytes, &mut text);
    text
}

#[cfg(test)]
pub(in crate::auth) mod tests;
