//! The certificates that one end trusts, from a file.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::path::Path;

/// Reads the authorities that a file of PEM holds.
///
/// # Errors
/// Fails with what is wrong with the file. One without a certificate is wrong: it would trust nobody.
pub fn read_roots(path: &Path) -> Result<RootCertStore, String> {
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| format!("it is no PEM: {error}"))?;
        roots.add(certificate).map_err(|error| format!("a certificate in it is no authority's: {error}"))?;
    }
    if roots.is_empty() {
        return Err("no certificate is in it".to_owned());
    }
    Ok(roots)
}
