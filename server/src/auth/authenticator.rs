//! The way of a request through the authentication: its signature is verified, all traces of
//! signing are removed, and its body is wrapped so that it is verified while it is read.
//!
//! Invariant: what the handlers learn about the caller is [`RequestContext`], which only
//! [`Authenticator::authenticate`] makes, and [`anonymous`] for those who may be anybody.

use super::AuthError;
use super::payload::{BodyFailure, PayloadEncoding, VerifiedBody, decode_headers};
use super::signature::{CONTENT_SHA256, Signed, Verifier, strip_signature};
use crate::client::Client;
use crate::host::Domains;
use crate::identity::{Identity, Signer};
use crate::throttle::Pace;
use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body::Body;
use ringbolt_engine::types::RequestId;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

/// The SHA-256 of an empty body.
const EMPTY_SHA256: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// What the handlers learn about a request from its authentication: who asks, and under which id
/// the request is logged and answered. It travels in the request's `http::Extensions`.
#[derive(Clone, Debug, Default)]
pub struct RequestContext {
    pub request_id: RequestId,
    /// Who signed the request. None if the request is anonymous; a request with a bad signature never
    /// gets this far.
    pub signer: Option<Arc<Signer>>,
    /// Who sent the request, as far as its connection and trusted proxies tell.
    pub client: Client,
    /// How the request was signed, if it was.
    pub signed: Option<Signed>,
    /// What the request says of the hash of its body, by which its form is known.
    pub content_sha256: Option<HeaderValue>,
    pub trailers: Trailers,
    /// What the request is charged to, where there are limits.
    pub pace: Pace,
}

/// The trailers of an aws-chunked body. There are none until the body was read to its end.
#[derive(Clone, Debug, Default)]
pub struct Trailers(Arc<OnceLock<Vec<(String, String)>>>);

impl Trailers {
    /// Returns the trailers in the order they came, with names in lower case. There are none before
    /// the end of the body.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.get().into_iter().flatten().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Sets the trailers. It is called once, when the body has ended and everything that signs it
    /// was verified.
    pub fn fill(&self, entries: Vec<(String, String)>) {
        let first = self.0.set(entries).is_ok();
        debug_assert!(first, "a body ends once");
    }
}

/// Authenticates the requests of one core: verifies signatures, strips them, and wraps bodies.
pub struct Authenticator {
    verifier: Verifier,
    /// Who unsigned requests act as. Only benchmarks set it.
    anonymous: Option<Arc<Signer>>,
}

/// A request that was authenticated and may go on to the handlers.
pub struct Authenticated {
    pub request: Request<s3s::Body>,
    /// The error of the body, once the body turned out not to be what was signed or announced.
    pub failure: BodyFailure,
}

/// Makes a request anonymous, whatever signature it brings. Its body, which was not verified, is left
/// out.
pub fn anonymous<B>(request: Request<B>, request_id: RequestId) -> Request<s3s::Body> {
    let (mut parts, _) = request.into_parts();
    parts.extensions.insert(RequestContext { request_id, ..RequestContext::default() });
    Request::from_parts(parts, s3s::Body::empty())
}

impl Authenticator {
    /// Makes an authenticator that accepts both signature versions and path-style addresses alone.
    pub fn new(identity: Rc<Identity>, region: String) -> Self {
        Self { verifier: Verifier::new(identity, region), anonymous: None }
    }

    /// Sets whether signature version 2 is accepted, and under which domains a host names a bucket,
    /// which version 2 signs.
    pub fn with_version_2(self, version_2: bool, domains: &[String]) -> Self {
        Self { verifier: self.verifier.with_version_2(version_2, Domains::new(domains)), ..self }
    }

    /// Returns the region that all buckets are in.
    pub fn region(&self) -> &str {
        self.verifier.region()
    }

    /// Lets unsigned requests act as `signer`, so that the cost of the server without signatures
    /// can be measured.
    pub fn with_anonymous_signer(self, signer: Option<Arc<Signer>>) -> Self {
        Self { anonymous: signer, ..self }
    }

    /// Authenticates a request. `now_s` is Unix time in seconds. Fails if the signature, the
    /// headers of the body, or the time are not acceptable; the body was not touched then.
    pub fn authenticate<B>(
        &self,
        request: Request<B>,
        request_id: RequestId,
        now_s: i64,
    ) -> Result<Authenticated, AuthError>
    where
        B: Body<Data = Bytes> + Send + Sync + Unpin + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let (mut parts, body) = request.into_parts();
        let verified = self.verifier.verify(&parts, now_s)?;
        strip_signature(&mut parts)?;
        let form = PayloadEncoding::of(&parts.headers)?;
        let content_sha256 = parts.headers.get(CONTENT_SHA256).cloned();
        let length = decode_headers(&mut parts.headers, form)?;
        let (signer, signed, chain) = match verified {
            Some(verified) => (Some(verified.signer), Some(verified.signed), verified.chain),
            None => (self.anonymous.clone(), None, None),
        };
        let trailers = Trailers::default();
        let failure = BodyFailure::default();
        let body = match form {
            PayloadEncoding::Plain | PayloadEncoding::Hashed(EMPTY_SHA256) if body.is_end_stream() => {
                s3s::Body::empty()
            }
            PayloadEncoding::Hashed(_) if body.is_end_stream() => {
                return Err(AuthError::ContentSha256Mismatch);
            }
            form => {
                let announced = length.unwrap_or(0);
                let body =
                    VerifiedBody::new(body, form, chain, announced, trailers.clone(), failure.clone())?;
                s3s::Body::http_body(body)
            }
        };
        parts.extensions.insert(RequestContext {
            request_id,
            client: Client::default(),
            signer,
            signed,
            content_sha256,
            trailers,
            pace: Pace::default(),
        });
        Ok(Authenticated { request: Request::from_parts(parts, body), failure })
    }
}
