//! The certificate of a server that is tried out: made at the first start, kept in the data directory, and
//! made anew at a start or a reload within a month of its end, or when it is to be for other hosts. Nobody
//! trusts it who is not told to.

use super::CertificateFiles;
use super::certificates::info_of;
use crate::unix_time::now_s;
use crate::whole_file::{self, FileError};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::io;
use std::path::{Path, PathBuf};
use time::{Duration, OffsetDateTime};

const CHAIN_FILE: &str = "tls-self-signed.crt";
const KEY_FILE: &str = "tls-self-signed.key";
const LIFE: Duration = Duration::days(397);
/// It is made anew when it ends sooner than this, in seconds.
const LEFT_S_MIN: i64 = 30 * 24 * 60 * 60;

/// The reason why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum SelfSignedError {
    #[error("can not {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("can not make a certificate for {hosts:?}: {problem}")]
    Make { hosts: Vec<String>, problem: String },
}

/// Returns the files of the certificate, which are written if there are none that will do.
pub fn keep(directory: &Path, hosts: &[String]) -> Result<CertificateFiles, SelfSignedError> {
    let files = files_in(directory);
    if will_do(&files, hosts) { Ok(files) } else { make(directory, hosts) }
}

fn files_in(directory: &Path) -> CertificateFiles {
    CertificateFiles { chain: directory.join(CHAIN_FILE), key: directory.join(KEY_FILE) }
}

/// Makes the certificate, whatever is there.
pub fn make(directory: &Path, hosts: &[String]) -> Result<CertificateFiles, SelfSignedError> {
    let files = files_in(directory);
    let failed =
        |error: rcgen::Error| SelfSignedError::Make { hosts: hosts.to_vec(), problem: error.to_string() };
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::new(hosts.to_vec()).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, "Ringbolt, self-signed");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Clocks of clients may be behind.
    params.not_before = OffsetDateTime::now_utc() - Duration::hours(1);
    params.not_after = OffsetDateTime::now_utc() + LIFE;
    let certificate = params.self_signed(&key).map_err(failed)?;
    // A certificate that stands beside another key's is no pair: without one, the next start makes both.
    match std::fs::remove_file(&files.chain) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(SelfSignedError::Io { action: "replace", path: files.chain, source });
        }
        _ => {}
    }
    for (path, pem, mode) in
        [(&files.key, key.serialize_pem(), 0o600), (&files.chain, certificate.pem(), 0o644)]
    {
        whole_file::replace(path, pem.as_bytes(), mode).map_err(|FileError { action, source }| {
            SelfSignedError::Io { action, path: path.clone(), source }
        })?;
    }
    tracing::info!(certificate = %files.chain.display(), ?hosts, "made a certificate that signs itself");
    Ok(files)
}

/// Returns whether there is a certificate for these hosts that does not end soon. A pair of which one half
/// is another's is found when it is read.
fn will_do(files: &CertificateFiles, hosts: &[String]) -> bool {
    let info =
        CertificateDer::from_pem_file(&files.chain).ok().and_then(|der| info_of(&files.chain, &der).ok());
    let is_pair = files.key.exists();
    info.is_some_and(|info| is_pair && info.hosts == hosts && info.ends_s > now_s() + LEFT_S_MIN)
}
