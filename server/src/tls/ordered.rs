//! The certificate that an authority signed for this server: where it lies, and when the next is due.

use super::certificates::check_pair;
use super::{CertificateFiles, CertificateInfo};
use crate::whole_file::{self, FileError};
use std::path::Path;

const CHAIN_FILE: &str = "tls-acme.crt";
const KEY_FILE: &str = "tls-acme.key";

/// Returns where the pair lies.
pub fn files_in(directory: &Path) -> CertificateFiles {
    CertificateFiles { chain: directory.join(CHAIN_FILE), key: directory.join(KEY_FILE) }
}

/// Writes a pair. A start that finds the key of one and the certificate of another takes neither.
///
/// # Errors
/// Fails when a file can not be written.
pub fn write(directory: &Path, chain: &str, key: &str) -> Result<(), FileError> {
    let files = files_in(directory);
    whole_file::replace(&files.key, key.as_bytes(), 0o600)?;
    whole_file::replace(&files.chain, chain.as_bytes(), 0o644)
}

/// Looks whether a pair is whole, and for these names.
///
/// # Errors
/// Fails with what is wrong.
pub fn check(directory: &Path, chain: &str, key: &str, hosts: &[String]) -> Result<(), String> {
    let info = check_pair(&files_in(directory), chain.as_bytes(), key.as_bytes());
    let info = info.map_err(|error| error.to_string())?;
    let are_for_hosts = are_for(std::slice::from_ref(&info), hosts);
    if are_for_hosts { Ok(()) } else { Err(format!("it is for {}", info.hosts.join(", "))) }
}

/// Tells whether these are one certificate for these names and no others.
pub fn are_for(certificates: &[CertificateInfo], hosts: &[String]) -> bool {
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
