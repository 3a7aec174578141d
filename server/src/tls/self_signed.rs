//! The certificate of a server that is tried out: made at the first start, kept in the data directory, and
//! made anew at a start or a reload within a month of its end, or when it is to be for other hosts. Nobody
//! trusts it who is not told to.

use super::CertificateFiles;
use super::certificates::info_of;
use crate::unix_time::now_s;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
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
    #[error("can not write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("can not make a certificate for {hosts:?}: {problem}")]
    Make { hosts: Vec<String>, problem: String },
}

/// Returns the files of the certificate, which are written if there are none that will do.
pub fn keep(directory: &Path, hosts: &[String]) -> Result<CertificateFiles, SelfSignedError> {
    let files = files_in(directory);
    if will_do(&files, hosts) {
        return Ok(files);
    }
    make(files, hosts)
}

fn files_in(directory: &Path) -> CertificateFiles {
    CertificateFiles { chain: directory.join(CHAIN_FILE), key: directory.join(KEY_FILE) }
}

/// Makes the certificate anew, whatever is there.
pub fn make_anew(directory: &Path, hosts: &[String]) -> Result<CertificateFiles, SelfSignedError> {
    make(files_in(directory), hosts)
}

fn make(files: CertificateFiles, hosts: &[String]) -> Result<CertificateFiles, SelfSignedError> {
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
            return Err(SelfSignedError::Write { path: files.chain, source });
        }
        _ => {}
    }
    write(&files.key, key.serialize_pem().as_bytes(), 0o600)?;
    write(&files.chain, certificate.pem().as_bytes(), 0o644)?;
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

/// Writes a file so that it is there whole, or as it was. Nobody whom `mode` shuts out can read it at any
/// time.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), SelfSignedError> {
    let failed = |source| SelfSignedError::Write { path: path.to_owned(), source };
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let written = || -> io::Result<()> {
        // What a start left that ended in the middle may have another mode.
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file: File = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    };
    written().map_err(failed)
}
