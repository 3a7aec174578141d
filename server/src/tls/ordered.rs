//! The certificate that an authority signed for this server: where it lies, and when the next is due.
//!
//! Invariant: key and certificate lie in one file, so that there is a pair or none whenever a life ends.

use super::certificates::{Certificates, check_pair, read_certificates};
use super::{CertificateFiles, CertificateInfo, PairError};
use crate::unix_time::now_s;
use crate::whole_file::{self, FileError};
use std::path::{Path, PathBuf};

const FILE: &str = "tls-acme.pem";

/// Returns where the pair lies.
pub fn path_in(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

fn files_in(directory: &Path) -> CertificateFiles {
    CertificateFiles { chain: path_in(directory), key: path_in(directory) }
}

/// Writes a pair.
///
/// # Errors
/// Fails when the file can not be written. What was there is there still.
pub fn write(directory: &Path, chain: &str, key: &str) -> Result<(), FileError> {
    let text = zeroize::Zeroizing::new(format!("{key}{chain}"));
    whole_file::replace(&path_in(directory), text.as_bytes(), 0o600)
}

/// Reads the pair. None: there is none, or it is for other names.
///
/// # Errors
/// Fails when there is one that can not be read or used.
pub fn read(directory: &Path, hosts: &[String]) -> Result<Option<Certificates>, PairError> {
    match read_certificates(&[files_in(directory)]) {
        Ok(certificates) => Ok(Some(certificates).filter(|pair| are_for(&pair.infos(), hosts))),
        Err(PairError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Looks whether a pair is whole, for these names, and good today.
///
/// # Errors
/// Fails with what is wrong.
pub fn check(directory: &Path, chain: &str, key: &str, hosts: &[String]) -> Result<(), String> {
    let info = check_pair(&files_in(directory), chain.as_bytes(), key.as_bytes());
    let info = info.map_err(|error| error.to_string())?;
    if !are_for(std::slice::from_ref(&info), hosts) {
        return Err(format!("it is for {}", info.hosts.join(", ")));
    }
    let is_good = (info.begins_s..info.ends_s).contains(&now_s());
    if is_good { Ok(()) } else { Err("by this machine's clock it is not valid today".to_owned()) }
}

/// Tells whether these are one certificate for these names and no others.
fn are_for(certificates: &[CertificateInfo], hosts: &[String]) -> bool {
    let [certificate] = certificates else { return false };
    let sorted = |names: &[String]| {
        let mut names: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        names.sort();
        names.dedup();
        names
    };
    sorted(&certificate.hosts) == sorted(hosts)
}

/// Returns when the next certificate is to be ordered, in seconds since 1970: when a third of this one's
/// life is left.
pub fn renewal_s(certificate: &CertificateInfo) -> i64 {
    certificate.ends_s - (certificate.ends_s - certificate.begins_s) / 3
}
