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
mod self_signed;

pub use self::certificates::{CertificateInfo, PairError};
pub use self::self_signed::SelfSignedError;

use self::certificates::{Certificates, read_certificates};
use ringbolt_tls::read_roots;
use rustls::crypto::CryptoProvider;
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ServerConfig, VerifierBuilderError, WebPkiClientVerifier,
};
use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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
    /// Grows with each reload.
    version: AtomicU64,
}

struct Current {
    config: Arc<ServerConfig>,
    tickets: Arc<dyn ProducesTickets>,
    certificates: Vec<CertificateInfo>,
}

impl Tls {
    /// Reads what the options name.
    ///
    /// # Errors
    /// Fails with the file that is wrong, and what to do about it.
    pub fn load(options: TlsOptions) -> Result<Arc<Self>, TlsSetupError> {
        let tickets = new_tickets()?;
        let (config, certificates) = read(&options, tickets.clone())?;
        let current = Mutex::new(Current { config, tickets, certificates });
        Ok(Arc::new(Self { options, current, version: AtomicU64::new(0) }))
    }

    /// Reads everything again. New connections have it; those that are open go on with what they began
    /// with.
    ///
    /// # Errors
    /// Fails as [`Self::load`] does. What was goes on then.
    pub fn reload(&self) -> Result<(), TlsSetupError> {
        let lock = || self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let tickets = lock().tickets.clone();
        // Files may be slow, and a core that looks meanwhile must not wait for them.
        let (config, certificates) = read(&self.options, tickets.clone())?;
        let mut current = lock();
        *current = Current { config, tickets, certificates };
        self.version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Returns what is known of the certificates that are used now.
    pub fn certificates(&self) -> Vec<CertificateInfo> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).certificates.clone()
    }

    fn newest(&self) -> (u64, Arc<ServerConfig>) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
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

fn read(
    options: &TlsOptions,
    tickets: Arc<dyn ProducesTickets>,
) -> Result<(Arc<ServerConfig>, Vec<CertificateInfo>), TlsSetupError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let certificates = match &options.source {
        CertificateSource::Files(files) => read_certificates(files, &provider)?,
        CertificateSource::SelfSigned { directory, hosts } => {
            let files = self_signed::keep(directory, hosts)?;
            // A pair that was damaged is of no use to anybody.
            match read_certificates(&[files], &provider) {
                Ok(certificates) => certificates,
                Err(_) => read_certificates(&[self_signed::make(directory, hosts)?], &provider)?,
            }
        }
    };
    let infos = certificates.infos();
    let config = make_config(options, certificates, tickets, provider)?;
    Ok((Arc::new(config), infos))
}

fn make_config(
    options: &TlsOptions,
    certificates: Certificates,
    tickets: Arc<dyn ProducesTickets>,
    provider: Arc<CryptoProvider>,
) -> Result<ServerConfig, TlsSetupError> {
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| TlsSetupError::Library(error.to_string()))?;
    let builder = match &options.clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let wrong =
                |problem: String| TlsSetupError::Authorities { path: clients.authorities.clone(), problem };
            let roots = Arc::new(read_roots(&clients.authorities).map_err(wrong)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = if clients.required { verifier } else { verifier.allow_unauthenticated() };
            let verifier =
                verifier.build().map_err(|error: VerifierBuilderError| wrong(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Tickets hold all that is needed to resume, so the server keeps nothing for clients that went away.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if options.clients.is_none() {
        config.ticketer = tickets;
        // Clients of S3 use one; each takes the time to seal it.
        config.send_tls13_tickets = 1;
    } else {
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
