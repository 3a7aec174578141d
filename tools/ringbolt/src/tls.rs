//! TLS of the client of admin addresses.

use ringbolt_tls::read_roots;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

/// Returns how certificates are checked: by those in the file `authorities`, or by what the system trusts.
///
/// # Errors
/// Fails with what is wrong with the file, or with the system's certificates.
pub fn trusting(authorities: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match authorities {
        Some(path) => by_file(path, provider.clone())
            .map_err(|problem| format!("--admin-ca {}: {problem}", path.display()))?,
        None => Arc::new(
            rustls_platform_verifier::Verifier::new(provider.clone())
                .map_err(|error| format!("{error}; name a file of certificates with --admin-ca"))?,
        ),
    };
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?.dangerous();
    Ok(Arc::new(builder.with_custom_certificate_verifier(verifier).with_no_client_auth()))
}

fn by_file(path: &Path, provider: Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, String> {
    let roots = Arc::new(read_roots(path)?);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
    verifier.map_err(|error| error.to_string())
}

/// Performs the handshake with `authority`, a host with a port.
///
/// # Errors
/// Fails with the reason, and what to do about a certificate that is not trusted.
pub fn shake_hands(
    mut stream: TcpStream,
    config: &Arc<ClientConfig>,
    authority: &str,
) -> Result<StreamOwned<ClientConnection, TcpStream>, String> {
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
    let mut connection = ClientConnection::new(config.clone(), name).map_err(|error| error.to_string())?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).map_err(|error| {
            let is_untrusted = error
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<rustls::Error>())
                .is_some_and(|inner| matches!(inner, rustls::Error::InvalidCertificate(_)));
            match is_untrusted {
                true => format!("{error}; name its certificate or its authority's with --admin-ca"),
                false => format!("{error}; does it speak HTTPS?"),
            }
        })?;
    }
    Ok(StreamOwned::new(connection, stream))
}
