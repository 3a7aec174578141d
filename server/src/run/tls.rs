//! The certificates of a server that starts.

use super::{ServeError, ServeOptions, TlsCertificates, TlsSource};
use crate::office::{self, AcmeOptions};
use crate::tls::{CertificateSource, Tls, TlsOptions, TlsSetupError};
use crate::unix_time::now_s;
use std::sync::Arc;

/// A certificate that ends sooner than this, in seconds, is warned of.
const ENDS_SOON_S: i64 = 14 * 24 * 60 * 60;

/// What the listeners speak.
pub struct Offered {
    pub tls: Option<Arc<Tls>>,
    /// That of the admin address: operators sign what they ask, and need no certificate.
    pub admin_tls: Option<Arc<Tls>>,
}

impl Offered {
    /// Returns each of them once: often both are the same.
    pub fn each(&self) -> Vec<Arc<Tls>> {
        let other = self.admin_tls.iter().filter(|admin| !self.tls.iter().any(|tls| Arc::ptr_eq(tls, admin)));
        self.tls.iter().chain(other).cloned().collect()
    }
}

/// Reads the certificates, and says what they are for.
pub fn load_tls(options: &ServeOptions) -> Result<Offered, TlsSetupError> {
    let Some(TlsSource { certificates, clients }) = &options.tls else {
        return Ok(Offered { tls: None, admin_tls: None });
    };
    let directory = options.data_dir.clone();
    let source = match certificates {
        TlsCertificates::Files(files) => CertificateSource::Files(files.clone()),
        TlsCertificates::SelfSigned => CertificateSource::SelfSigned { directory, hosts: hosts(options) },
        TlsCertificates::Ordered(acme) => CertificateSource::Ordered { directory, hosts: acme.hosts.clone() },
    };
    let tls = Tls::load(TlsOptions { source: source.clone(), clients: clients.clone() })?;
    tell_of_certificates(&tls);
    let admin_tls = match (options.admin_tls, clients) {
        (false, _) => None,
        (true, None) => Some(tls.clone()),
        (true, Some(_)) => Some(Tls::load(TlsOptions { source, clients: None })?),
    };
    Ok(Offered { tls: Some(tls), admin_tls })
}

/// Looks whether the certificates can be read. One that the server makes itself is not made yet.
///
/// # Errors
/// Fails with what is wrong.
pub fn check_tls(options: &ServeOptions) -> Result<(), ServeError> {
    if let Some(acme) = ordered(options) {
        office::check(acme)?;
    }
    match &options.tls {
        Some(TlsSource { certificates: TlsCertificates::Files(files), clients }) => {
            let source = CertificateSource::Files(files.clone());
            Tls::load(TlsOptions { source, clients: clients.clone() })?;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Returns the hosts that clients of a server on trial may write.
fn hosts(options: &ServeOptions) -> Vec<String> {
    let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let mut add = |host: String| {
        if !host.is_empty() && !hosts.contains(&host) {
            hosts.push(host);
        }
    };
    add(rustix::system::uname().nodename().to_string_lossy().to_lowercase());
    if !options.listen.ip().is_unspecified() {
        add(options.listen.ip().to_string());
    }
    for domain in &options.domains {
        add(domain.clone());
        add(format!("*.{domain}"));
    }
    hosts
}

/// Returns what the office is to order, if anything.
pub fn ordered(options: &ServeOptions) -> Option<&AcmeOptions> {
    match &options.tls {
        Some(TlsSource { certificates: TlsCertificates::Ordered(acme), .. }) => Some(acme),
        _ => None,
    }
}

/// Logs what the certificates are for and until when.
pub fn tell_of_certificates(tls: &Tls) {
    for certificate in tls.certificates() {
        let (path, hosts) = (certificate.path.display(), certificate.hosts.join(", "));
        let until = certificate.last_day();
        match certificate.ends_s - now_s() {
            left if left <= 0 => {
                tracing::error!(%path, hosts, until, "a certificate has ended: clients refuse it")
            }
            left if left < ENDS_SOON_S => tracing::warn!(%path, hosts, until, "a certificate ends soon"),
            _ => tracing::info!(%path, hosts, until, "a certificate"),
        }
    }
}
