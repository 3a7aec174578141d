//! The way of a request through this room: signature first, then all traces of signing are removed, then the body is
//! wrapped.

use super::payload::{BodyFailure, PayloadForm, VerifiedBody, make_plain};
use super::signature::{Verifier, settle};
use super::{Account, Accounts, AuthError, RequestContext, Trailers};
use crate::s3::Domains;
use bytes::Bytes;
use http::Request;
use http_body::Body;
use std::sync::Arc;

/// SHA-256 of nothing.
const EMPTY_SHA256: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// Verifies the requests of one core.
pub struct Gate {
    verifier: Verifier,
    /// Stands in for whoever does not sign. Only benchmarks set it.
    stand_in: Option<Arc<Account>>,
}

/// A request that may go on to the handlers.
pub struct Admitted {
    pub request: Request<s3s::Body>,
    /// Set when the body turns out not to be what was signed or announced.
    pub failure: BodyFailure,
}

impl Gate {
    pub fn new(accounts: Arc<Accounts>, region: String) -> Self {
        Self { verifier: Verifier::new(accounts, region), stand_in: None }
    }

    /// Whether signature version 2 is believed, and under which domains hosts name buckets, which it signs.
    pub fn with(self, version_2: bool, domains: &[String]) -> Self {
        Self { verifier: self.verifier.with(version_2, Domains::new(domains)), ..self }
    }

    /// The region of all buckets behind this gate.
    pub fn region(&self) -> &str {
        self.verifier.region()
    }

    /// Lets unsigned requests act as `account`: what the server costs without signatures is measured so.
    pub fn standing_in(self, account: Option<Arc<Account>>) -> Self {
        Self { stand_in: account, ..self }
    }

    /// `now_s` is Unix time. On an error the body was not touched.
    pub fn admit<B>(&self, request: Request<B>, request_id: &str, now_s: i64) -> Result<Admitted, AuthError>
    where
        B: Body<Data = Bytes> + Send + Sync + Unpin + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let (mut parts, body) = request.into_parts();
        let verified = self.verifier.verify(&parts, now_s)?;
        settle(&mut parts)?;
        let form = PayloadForm::of(&parts.headers)?;
        let length = make_plain(&mut parts.headers, form)?;
        let (account, chain) = match verified {
            Some(verified) => (Some(verified.account), verified.chain),
            None => (self.stand_in.clone(), None),
        };
        let trailers = Trailers::default();
        let failure = BodyFailure::default();
        let body = match form {
            PayloadForm::Plain | PayloadForm::Hashed(EMPTY_SHA256) if body.is_end_stream() => {
                s3s::Body::empty()
            }
            PayloadForm::Hashed(_) if body.is_end_stream() => return Err(AuthError::ContentSha256Mismatch),
            form => {
                let announced = length.unwrap_or(0);
                let body =
                    VerifiedBody::new(body, form, chain, announced, trailers.clone(), failure.clone())?;
                s3s::Body::http_body(body)
            }
        };
        parts.extensions.insert(RequestContext { request_id: request_id.to_owned(), account, trailers });
        Ok(Admitted { request: Request::from_parts(parts, body), failure })
    }
}
