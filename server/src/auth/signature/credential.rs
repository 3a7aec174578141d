//! The credential of a version 4 signature, and the signing key that follows from it.
//!
//! Invariant: this is the one derivation of a signing key. Requests, the chunks of bodies, and
//! forms use it.

use crate::auth::AuthError;
use crate::auth::hash::HmacKey;
use zeroize::Zeroizing;

/// The parts of a credential. `scope` is everything after the access key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential<'a> {
    pub access_key: &'a str,
    pub scope: &'a str,
    pub day: &'a str,
    pub region: &'a str,
    pub service: &'a str,
}

/// Where a credential was found. Errors are worded differently for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    Header,
    /// The credential is a parameter of the query, or a field of a form.
    Parameter,
}

impl CredentialSource {
    /// Makes the error for a credential that can not be used.
    pub fn malformed(self, reason: String) -> AuthError {
        match self {
            Self::Header => AuthError::MalformedHeader(reason),
            Self::Parameter => {
                AuthError::MalformedQuery(format!("Error parsing the X-Amz-Credential parameter; {reason}"))
            }
        }
    }
}

impl<'a> Credential<'a> {
    fn split(text: &'a str) -> Option<Self> {
        let (access_key, scope) = text.split_once('/')?;
        let mut parts = scope.split('/');
        let (day, region, service) = (parts.next()?, parts.next()?, parts.next()?);
        if access_key.is_empty() || parts.next() != Some("aws4_request") || parts.next().is_some() {
            return None;
        }
        Some(Self { access_key, scope, day, region, service })
    }

    /// Parses a credential. Fails if it is malformed, or not for S3 in `region`.
    pub fn parse(text: &'a str, region: &str, place: CredentialSource) -> Result<Self, AuthError> {
        let credential = Self::split(text).ok_or_else(|| {
            place.malformed(
                "the Credential must be \"<access key>/YYYYMMDD/REGION/s3/aws4_request\"".to_owned(),
            )
        })?;
        if credential.service != "s3" {
            let reason = format!("incorrect service \"{}\"; this is \"s3\"", credential.service);
            return Err(place.malformed(reason));
        }
        if credential.region != region {
            let (given, expected) = (credential.region.to_owned(), region.to_owned());
            return Err(match place {
                CredentialSource::Parameter => AuthError::WrongQueryRegion { given, expected },
                CredentialSource::Header => AuthError::WrongRegion { given, expected },
            });
        }
        Ok(credential)
    }

    /// Derives the signing key of this day, region and service.
    pub fn signing_key(&self, secret_key: &[u8]) -> HmacKey {
        let first = HmacKey::new(&Zeroizing::new([b"AWS4", secret_key].concat()));
        [self.day, self.region, self.service, "aws4_request"]
            .iter()
            .fold(first, |key, step| HmacKey::new(&key.sign(step.as_bytes())))
    }
}
