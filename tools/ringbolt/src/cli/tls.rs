//! The flags of `serve` that say what its clients speak below HTTP.

use super::Switch;
use clap::{Args, ValueEnum};
use ringbolt_server::run::{
    AcmeDirectory, AcmeOptions, CertificateFiles, ClientCertificates, TlsCertificates, TlsSource,
};
use std::collections::BTreeSet;
use std::path::PathBuf;

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum TlsKind {
    SelfSigned,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum ClientCertificate {
    Required,
    Optional,
}

/// Which certificates a server has, and which it asks for.
#[derive(Args)]
pub struct TlsArgs {
    /// Speak HTTPS with a certificate that the server makes itself and keeps in the data directory, for a trial;
    /// clients have to be told to trust tls-self-signed.crt there
    #[arg(long, env = "RINGBOLT_TLS", value_enum)]
    tls: Option<TlsKind>,
    /// Speak HTTPS with this certificate: a file of PEM with those between it and its authority; repeat it for others,
    /// of which each client gets the one for the host that it asks for. SIGHUP reads all of them again
    #[arg(long, env = "RINGBOLT_TLS_CERT", value_name = "FILE", value_delimiter = ',')]
    tls_cert: Vec<PathBuf>,
    /// The private key of each --tls-cert, in the same order: a file of PEM
    #[arg(long, env = "RINGBOLT_TLS_KEY", value_name = "FILE", value_delimiter = ',')]
    tls_key: Vec<PathBuf>,
    /// Speak HTTPS with a certificate for this name that an authority signs by ACME, and renew it before it ends; may
    /// be repeated for further names in the same certificate. The authority looks at port 443 of each name
    /// (TLS-ALPN-01), which has to lead to --listen. Who uses it agrees to the authority's terms
    #[arg(long, env = "RINGBOLT_ACME_HOST", value_name = "HOST", value_delimiter = ',', value_parser = parse_acme_host)]
    acme_host: Vec<String>,
    /// The directory of the authority that --acme-host asks
    #[arg(
        long,
        env = "RINGBOLT_ACME_DIRECTORY",
        default_value = "https://acme-v02.api.letsencrypt.org/directory",
        value_name = "URL"
    )]
    acme_directory: String,
    /// A mail address that the authority of --acme-host may write to [default: none]
    #[arg(long, env = "RINGBOLT_ACME_CONTACT", value_name = "ADDRESS", requires = "acme_host")]
    acme_contact: Option<String>,
    /// The authorities to trust for the connection to --acme-directory: a file of PEM [default: those of this machine]
    #[arg(long, env = "RINGBOLT_ACME_CA", value_name = "FILE", requires = "acme_host")]
    acme_ca: Option<PathBuf>,
    /// Ask clients for certificates that one of these authorities signed: a file of PEM
    #[arg(long, env = "RINGBOLT_TLS_CLIENT_CA", value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// Whether a client without a certificate is refused, where --tls-client-ca asks for one [default: required]
    #[arg(long, env = "RINGBOLT_TLS_CLIENT_CERT", value_enum)]
    tls_client_cert: Option<ClientCertificate>,
    /// Whether the admin address speaks HTTPS too, where clients do
    #[arg(long, env = "RINGBOLT_ADMIN_TLS", value_enum, default_value = "on")]
    admin_tls: Switch,
}

/// The reason why flags of TLS do not go together.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(
        "there are {chains} --tls-cert and {keys} --tls-key; give each certificate its key, in the same order"
    )]
    Certificates { chains: usize, keys: usize },
    #[error(
        "--tls-client-ca asks for certificates where nobody speaks TLS; give the server one, by --tls-cert and \
         --tls-key"
    )]
    ClientsWithoutTls,
    #[error(
        "of --tls, --tls-cert and --acme-host one is enough: choose the server's own certificate, yours, or one that \
         an authority signs"
    )]
    TwoKindsOfTls,
    #[error(
        "--acme-host and --tls-client-ca do not go together: an authority that looks at the server has no certificate \
         of a client; let --tls-client-cert be optional, or give --tls-cert and --tls-key"
    )]
    AcmeBehindClients,
    #[error(
        "--tls-client-cert says what to do without a certificate that nobody asks for; give --tls-client-ca"
    )]
    NoAuthority,
}

impl TlsArgs {
    /// Returns whether the admin address speaks TLS too, where clients do.
    pub fn is_for_admin(&self) -> bool {
        self.admin_tls == Switch::On
    }

    /// Returns what the flags say. None: plain HTTP.
    ///
    /// # Errors
    /// Fails when they do not go together.
    pub fn source(&self) -> Result<Option<TlsSource>, TlsError> {
        let (chains, keys) = (&self.tls_cert, &self.tls_key);
        if self.tls_client_cert.is_some() && self.tls_client_ca.is_none() {
            return Err(TlsError::NoAuthority);
        }
        if chains.len() != keys.len() {
            return Err(TlsError::Certificates { chains: chains.len(), keys: keys.len() });
        }
        let required = self.tls_client_cert != Some(ClientCertificate::Optional);
        let clients =
            self.tls_client_ca.clone().map(|authorities| ClientCertificates { authorities, required });
        let certificates = match (self.tls, chains.is_empty(), self.acme_host.is_empty()) {
            (Some(TlsKind::SelfSigned), true, true) => TlsCertificates::SelfSigned,
            (None, false, true) => {
                let pairs = chains.iter().cloned().zip(keys.iter().cloned());
                TlsCertificates::Files(pairs.map(|(chain, key)| CertificateFiles { chain, key }).collect())
            }
            (None, true, false) if clients.is_some() && required => return Err(TlsError::AcmeBehindClients),
            (None, true, false) => TlsCertificates::Ordered(AcmeOptions {
                directory: AcmeDirectory {
                    url: self.acme_directory.clone(),
                    authorities: self.acme_ca.clone(),
                },
                hosts: each_once(&self.acme_host),
                contact: self.acme_contact.clone(),
            }),
            (None, true, true) if clients.is_some() => return Err(TlsError::ClientsWithoutTls),
            (None, true, true) => return Ok(None),
            _ => return Err(TlsError::TwoKindsOfTls),
        };
        Ok(Some(TlsSource { certificates, clients }))
    }
}

fn parse_acme_host(text: &str) -> Result<String, String> {
    if text.contains('*') {
        let wrong = "an authority proves names with * by DNS alone, which the server has no hand in; get that \
                     certificate by a tool of your own, and give it by --tls-cert and --tls-key";
        return Err(wrong.to_owned());
    }
    let is_label = |label: &str| {
        let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..64).contains(&label.len()) && label.bytes().all(is_inner)
    };
    // What ends with a number is an address.
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    let is_name =
        text.len() < 254 && text.split('.').all(is_label) && !text.rsplit('.').next().is_some_and(is_number);
    if is_name { Ok(text.to_ascii_lowercase()) } else { Err("write a name, as in s3.example.com".to_owned()) }
}

/// Returns the names as they were given, without those that came before.
fn each_once(names: &[String]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    names.iter().filter(|name| seen.insert(*name)).cloned().collect()
}
