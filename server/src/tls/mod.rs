//! TLS as the server offers it: certificates, the settings of sessions, and how both are replaced while
//! the server runs. The connections themselves are in [`crate::http`].
//!
//! Invariants:
//! - What is read is checked whole before it is used: a reload that fails leaves what was.
//! - A core asks one counter, which nobody writes but a reload, whether its copy of the settings is still
//!   the newest. The lock behind it is taken once for each reload and core.
//! - Tickets by which clients resume a session are sealed under keys in memory that are changed every six
//!   hours. Where certificates of clients are asked for there are none: nobody comes in by a session
//!   whose certificate is not accepted any more. Early data, which could be sent again by anybody, are
//!   refused.
//!
//! TLS 1.3 and 1.2 with the cipher suites that rustls offers are all there is: older ones are not built.

mod certificates;
pub mod ordered;
mod proof;
mod self_signed;

pub use self::certificates::{CertificateInfo, PairError};
pub use self::proof::{PROOF_PROTOCOL, Proof, ProofError};
pub use self::self_signed::SelfSignedError;

use self::certificates::{Certificates, read_certificates};
use self::proof::{Chooser, Proofs};
use ringbolt_tls::read_roots;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ServerConfig, VerifierBuilderError, WebPkiClientVerifier,
};
use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A certificate with its key, in files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The server's certificate and those between it and an authority, as PEM.
    pub chain: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
}

/// Which certificates there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSource {
    /// The first is for clients that name no host.
    Files(Vec<CertificateFiles>),
    /// One that the server makes itself and keeps in its data directory, for a trial. `hosts` are names and
    /// addresses that it is for.
    SelfSigned { directory: PathBuf, hosts: Vec<String> },
    /// One that an authority signs for these names, see [`crate::office`]. Until it has, the server makes one
    /// itself.
    Ordered { directory: PathBuf, hosts: Vec<String> },
}

/// The certificates that clients are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// The authorities that sign them, as PEM.
    pub authorities: PathBuf,
    /// A client without one is refused. Else only one with a wrong one is.
    pub required: bool,
}

/// What TLS is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    pub source: CertificateSource,
    pub clients: Option<ClientCertificates>,
}

/// The reason why TLS can not be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    #[error(transparent)]
    Pair(#[from] PairError),
    #[error(transparent)]
    SelfSigned(#[from] SelfSignedError),
    #[error("can not read the authorities of clients in {}: {problem}", path.display())]
    Authorities { path: PathBuf, problem: String },
    #[error("the cryptography of TLS does not work: {0}")]
    Library(String),
}

/// The settings of all cores.
pub struct Tls {
    options: TlsOptions,
    current: Mutex<Current>,
    /// Held by whoever makes the settings anew.
    changing: Mutex<()>,
    /// Grows with each change.
    version: AtomicU64,
}

struct Current {
    config: Arc<ServerConfig>,
    parts: Parts,
}

/// What the settings are made of.
#[derive(Clone)]
struct Parts {
    tickets: Arc<dyn ProducesTickets>,
    certificates: Arc<Certificates>,
    /// Who judges the certificates of clients, if they are asked for any.
    clients: Option<Arc<dyn ClientCertVerifier>>,
    proofs: Arc<Proofs>,
}

impl Tls {
    /// Reads what the options name.
    ///
    /// # Errors
    /// Fails with the file that is wrong, and what to do about it.
    pub fn load(options: TlsOptions) -> Result<Arc<Self>, TlsSetupError> {
        let certificates = match &options.source {
            CertificateSource::Files(files) => read_certificates(files)?,
            CertificateSource::SelfSigned { directory, hosts } => read_own(directory, hosts)?,
            CertificateSource::Ordered { directory, hosts } => match ordered::read(directory, hosts) {
                Ok(Some(certificates)) => certificates,
                Ok(None) => read_own(directory, hosts)?,
                Err(error) => {
                    tracing::error!(%error, "the certificate that an authority signed is of no use");
                    read_own(directory, hosts)?
                }
            },
        };
        let parts = Parts {
            tickets: new_tickets()?,
            certificates: Arc::new(certificates),
            clients: read_clients(options.clients.as_ref())?,
            proofs: Arc::new(Proofs::default()),
        };
        let current = Mutex::new(Current { config: make_config(&parts)?, parts });
        let changing = Mutex::new(());
        Ok(Arc::new(Self { options, current, changing, version: AtomicU64::new(0) }))
    }

    /// Reads everything again. New connections have it; those that are open go on with what they began
    /// with.
    ///
    /// # Errors
    /// Fails as [`Self::load`] does. What was goes on then.
    pub fn reload(&self) -> Result<(), TlsSetupError> {
        self.change(|parts| {
            let certificates = match &self.options.source {
                CertificateSource::Files(files) => Some(read_certificates(files)?),
                CertificateSource::SelfSigned { directory, hosts } => Some(read_own(directory, hosts)?),
                // Without one, that in use is better than one that nobody trusts.
                CertificateSource::Ordered { directory, hosts } => ordered::read(directory, hosts)?,
            };
            if let Some(certificates) = certificates {
                parts.certificates = Arc::new(certificates);
            }
            parts.clients = read_clients(self.options.clients.as_ref())?;
            Ok(())
        })
    }

    /// Sets what proves to an authority that this server is at the names that it is to sign for. Each proof
    /// is shown to whoever asks for nothing but proofs.
    ///
    /// # Errors
    /// Fails when the library refuses the settings that were made of them.
    pub fn set_proofs(&self, proofs: Vec<Proof>) -> Result<(), TlsSetupError> {
        self.change(|parts| {
            parts.proofs = Arc::new(Proofs(proofs));
            Ok(())
        })
    }

    /// Makes the settings anew with what `with` changes. It may read files, which may be slow: others that
    /// change something wait for it, and cores do not.
    fn change(
        &self,
        with: impl FnOnce(&mut Parts) -> Result<(), TlsSetupError>,
    ) -> Result<(), TlsSetupError> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut parts = self.current().parts.clone();
        with(&mut parts)?;
        let config = make_config(&parts)?;
        let mut current = self.current();
        *current = Current { config, parts };
        self.version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Returns what is known of the certificates that are used now.
    pub fn certificates(&self) -> Vec<CertificateInfo> {
        self.current().parts.certificates.infos()
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn newest(&self) -> (u64, Arc<ServerConfig>) {
        let current = self.current();
        // It is read under the lock: it is that of what is found.
        (self.version.load(Ordering::Acquire), current.config.clone())
    }
}

/// The settings as one core has them.
pub struct CoreTls {
    shared: Arc<Tls>,
    version: Cell<u64>,
    config: RefCell<Arc<ServerConfig>>,
}

impl CoreTls {
    /// Makes the copy of a core.
    pub fn new(shared: Arc<Tls>) -> Self {
        let (version, config) = shared.newest();
        Self { shared, version: Cell::new(version), config: RefCell::new(config) }
    }

    /// Returns the settings for a new connection.
    pub fn config(&self) -> Arc<ServerConfig> {
        if self.shared.version.load(Ordering::Acquire) != self.version.get() {
            let (version, config) = self.shared.newest();
            self.version.set(version);
            *self.config.borrow_mut() = config;
        }
        self.config.borrow().clone()
    }
}

fn new_tickets() -> Result<Arc<dyn ProducesTickets>, TlsSetupError> {
    rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|error| TlsSetupError::Library(error.to_string()))
}

/// Returns the algorithms that TLS is made of, here and on the way to the outside.
pub fn cryptography() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

/// Reads the certificate that the server makes itself.
fn read_own(directory: &Path, hosts: &[String]) -> Result<Certificates, TlsSetupError> {
    // A pair that was damaged is of no use to anybody.
    match read_certificates(&[self_signed::keep(directory, hosts)?]) {
        Ok(certificates) => Ok(certificates),
        Err(_) => Ok(read_certificates(&[self_signed::make(directory, hosts)?])?),
    }
}

fn read_clients(
    clients: Option<&ClientCertificates>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsSetupError> {
    let Some(clients) = clients else { return Ok(None) };
    let wrong = |problem: String| TlsSetupError::Authorities { path: clients.authorities.clone(), problem };
    let roots = Arc::new(read_roots(&clients.authorities).map_err(wrong)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::new(cryptography()));
    let verifier = if clients.required { verifier } else { verifier.allow_unauthenticated() };
    let verifier = verifier.build().map_err(|error: VerifierBuilderError| wrong(error.to_string()))?;
    Ok(Some(verifier))
}

fn make_config(parts: &Parts) -> Result<Arc<ServerConfig>, TlsSetupError> {
    let Parts { tickets, certificates, clients, proofs } = parts.clone();
    let builder = ServerConfig::builder_with_provider(Arc::new(cryptography()));
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| TlsSetupError::Library(error.to_string()))?;
    let asks_clients = clients.is_some();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    };
    let mut alpn_protocols = vec![b"http/1.1".to_vec()];
    if !proofs.0.is_empty() {
        alpn_protocols.push(PROOF_PROTOCOL.to_vec());
    }
    let mut config = builder.with_cert_resolver(Arc::new(Chooser { certificates, proofs }));
    config.alpn_protocols = alpn_protocols;
    // Tickets hold all that is needed to resume, so the server keeps nothing for clients that went away.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if asks_clients {
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer = tickets;
        // Clients of S3 use one; each takes the time to seal it.
        config.send_tls13_tickets = 1;
    }
    Ok(Arc::new(config))
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
