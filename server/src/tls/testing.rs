//! For tests: clients that trust a certificate.

use ringbolt_tls::read_roots;
use rustls::client::WantsClientCert;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, SupportedProtocolVersion};
use std::path::Path;
use std::sync::Arc;

/// Begins the settings of a client that trusts the certificates in these files.
pub fn client(
    chains: &[&Path],
    versions: &[&'static SupportedProtocolVersion],
) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let mut roots = RootCertStore::empty();
    for chain in chains {
        roots.roots.extend(read_roots(chain).unwrap().roots);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions);
    builder.unwrap().with_root_certificates(roots)
}
