//! What proves to an authority that this server is at a name: for a moment it shows a certificate that holds
//! what the authority asked for, to whoever speaks nothing but the protocol of such proofs (TLS-ALPN-01, RFC
//! 8737).
//!
//! Invariant: who speaks HTTP never gets a proof, and who asks for proofs gets nothing else.

use super::certificates::Certificates;
use super::cryptography;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::sync::Arc;

/// The name by which authorities ask for proofs.
pub const PROOF_PROTOCOL: &[u8] = b"acme-tls/1";

/// The reason why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    #[error("can not make a certificate that proves {host}: {source}")]
    Make { host: String, source: rcgen::Error },
    #[error("can not use the certificate that proves {host}: {source}")]
    Use { host: String, source: rustls::Error },
}

/// A proof for one name.
#[derive(Clone, Debug)]
pub struct Proof {
    host: String,
    key: Arc<CertifiedKey>,
}

impl Proof {
    /// Makes the proof of `host` that holds `digest`, the SHA-256 of what the authority asked for.
    ///
    /// # Errors
    /// Fails when the name can not be in a certificate.
    pub fn new(host: &str, digest: &[u8]) -> Result<Self, ProofError> {
        let failed = |source| ProofError::Make { host: host.to_owned(), source };
        let pair = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::new(vec![host.to_owned()]).map_err(failed)?;
        params.distinguished_name = DistinguishedName::new();
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let certificate = params.self_signed(&pair).map_err(failed)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        let key = cryptography().key_provider.load_private_key(key);
        let key = key.map_err(|source| ProofError::Use { host: host.to_owned(), source })?;
        let key = CertifiedKey::new(vec![certificate.der().clone()], key);
        Ok(Self { host: host.to_owned(), key: Arc::new(key) })
    }
}

/// The proofs that are shown now. Mostly there are none.
#[derive(Debug, Default)]
pub struct Proofs(pub Vec<Proof>);

impl Proofs {
    fn of(&self, hello: &ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?;
        let proof = self.0.iter().find(|proof| proof.host.eq_ignore_ascii_case(name))?;
        Some(proof.key.clone())
    }
}

/// Chooses what a client is shown.
#[derive(Debug)]
pub struct Chooser {
    pub certificates: Arc<Certificates>,
    pub proofs: Arc<Proofs>,
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asks_for_proof = hello.alpn().is_some_and(|mut protocols| {
            protocols.next() == Some(PROOF_PROTOCOL) && protocols.next().is_none()
        });
        if asks_for_proof { self.proofs.of(&hello) } else { self.certificates.choose(&hello) }
    }
}
