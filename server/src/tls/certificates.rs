//! Certificates: read, checked, and chosen by the name that a client asks for.
//!
//! Invariant: a key belongs to its certificate, or the pair is refused when it is read.

use super::{CertificateFiles, cryptography};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The reason why a certificate can not be used.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    #[error("can not read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("no certificate is in {}; it must hold PEM, which begins with -----BEGIN CERTIFICATE-----", path.display())]
    NoCertificate { path: PathBuf },
    #[error("a certificate in {} can not be read: {problem}", path.display())]
    Certificate { path: PathBuf, problem: String },
    #[error(
        "no private key is in {}; it must hold PEM, which begins with -----BEGIN PRIVATE KEY-----",
        path.display()
    )]
    NoKey { path: PathBuf },
    #[error(
        "the private key in {} is encrypted; decrypt it, for example with `openssl pkey -in {} -out plain.key`",
        path.display(),
        path.display()
    )]
    EncryptedKey { path: PathBuf },
    #[error("the private key in {} can not be used: {problem}", path.display())]
    Key { path: PathBuf, problem: String },
    #[error("the private key in {} does not belong to the certificate in {}", key.display(), chain.display())]
    NoPair { chain: PathBuf, key: PathBuf },
}

/// What is known of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    pub path: PathBuf,
    /// The hosts that it is for: names, names with `*.` before them, and addresses.
    pub hosts: Vec<String>,
    /// When it begins, in seconds since 1970.
    pub begins_s: i64,
    /// When it ends, in seconds since 1970.
    pub ends_s: i64,
}

impl CertificateInfo {
    /// Returns the day on which it ends, as in 2031-11-29.
    pub fn last_day(&self) -> String {
        let end = OffsetDateTime::from_unix_timestamp(self.ends_s);
        end.map(|end| end.date().to_string()).unwrap_or_default()
    }
}

struct Certificate {
    key: Arc<CertifiedKey>,
    info: CertificateInfo,
}

impl Certificate {
    /// Returns how well the certificate is for a name: 2 by the name itself, 1 by a wildcard.
    fn fits(&self, name: &str) -> u8 {
        let above = name.split_once('.').map(|(_, above)| above);
        let by_wildcard = |host: &str| {
            host.strip_prefix("*.")
                .is_some_and(|domain| above.is_some_and(|above| above.eq_ignore_ascii_case(domain)))
        };
        if self.info.hosts.iter().any(|host| host.eq_ignore_ascii_case(name)) {
            2
        } else {
            u8::from(self.info.hosts.iter().any(|host| by_wildcard(host)))
        }
    }
}

/// The certificates of a server, of which there is one at least.
pub struct Certificates(Vec<Certificate>);

impl Certificates {
    /// Returns what is known of each.
    pub fn infos(&self) -> Vec<CertificateInfo> {
        self.0.iter().map(|certificate| certificate.info.clone()).collect()
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.0.iter().map(|certificate| &certificate.info)).finish()
    }
}

impl Certificates {
    /// Chooses the certificate that fits the name best, the earlier of two, and one whose kind of key the
    /// client takes. Who names no host, or one that no certificate is for, gets the first: the client says
    /// better than we could what it misses.
    pub fn choose(&self, hello: &ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let taken = |certificate: &&Certificate| {
            certificate.key.key.choose_scheme(hello.signature_schemes()).is_some()
        };
        let name = hello.server_name().unwrap_or_default();
        let by_fit = |fit: u8| self.0.iter().filter(move |certificate| certificate.fits(name) == fit);
        let found = by_fit(2).chain(by_fit(1)).find(taken).or_else(|| self.0.iter().find(taken));
        found.map(|certificate| certificate.key.clone())
    }
}

/// Reads certificates with their keys.
pub fn read_certificates(files: &[CertificateFiles]) -> Result<Certificates, PairError> {
    files.iter().map(read_pair).collect::<Result<_, _>>().map(Certificates)
}

fn read_pair(files: &CertificateFiles) -> Result<Certificate, PairError> {
    let read =
        |path: &Path| std::fs::read(path).map_err(|source| PairError::Read { path: path.to_owned(), source });
    let chain = read(&files.chain)?;
    pair_of(files, &chain, &zeroize::Zeroizing::new(read(&files.key)?))
}

/// Looks whether what is to be in these files is a certificate with its key.
///
/// # Errors
/// Fails as reading the files would.
pub fn check_pair(files: &CertificateFiles, chain: &[u8], key: &[u8]) -> Result<CertificateInfo, PairError> {
    pair_of(files, chain, key).map(|certificate| certificate.info)
}

fn pair_of(files: &CertificateFiles, chain_text: &[u8], key_text: &[u8]) -> Result<Certificate, PairError> {
    let CertificateFiles { chain: path, key: key_path } = files;
    let broken = |problem: String| PairError::Certificate { path: path.clone(), problem };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain_text)
        .collect::<Result<_, _>>()
        .map_err(|error| broken(format!("it is no PEM: {error}")))?;
    let first = chain.first().ok_or_else(|| PairError::NoCertificate { path: path.clone() })?;
    let info = info_of(path, first).map_err(broken)?;
    let is_encrypted = memchr::memmem::find(key_text, b"ENCRYPTED").is_some();
    let key = PrivateKeyDer::from_pem_slice(key_text).map_err(|_| match is_encrypted {
        true => PairError::EncryptedKey { path: key_path.clone() },
        false => PairError::NoKey { path: key_path.clone() },
    })?;
    let key = cryptography().key_provider.load_private_key(key);
    let key = key.map_err(|error| PairError::Key { path: key_path.clone(), problem: error.to_string() })?;
    let key = CertifiedKey::new(chain, key);
    match key.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            return Err(PairError::NoPair { chain: path.clone(), key: key_path.clone() });
        }
        Err(error) => return Err(broken(error.to_string())),
    }
    Ok(Certificate { key: Arc::new(key), info })
}

/// Reads what a certificate says of itself.
pub fn info_of(path: &Path, certificate: &[u8]) -> Result<CertificateInfo, String> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    let mut hosts = Vec::new();
    let names = parsed.subject_alternative_name().map_err(|error| error.to_string())?;
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        match name {
            GeneralName::DNSName(name) => hosts.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => hosts.extend(address(bytes).map(|address| address.to_string())),
            _ => {}
        }
    }
    let validity = parsed.validity();
    let (begins_s, ends_s) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    Ok(CertificateInfo { path: path.to_owned(), hosts, begins_s, ends_s })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let of_4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    of_4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
