//! This module implements TLS over a connection: a session of rustls between our buffers and a
//! socket of monoio.
//!
//! It does not use monoio-rustls, which needs monoio with all of its default features: features
//! apply to the whole binary, so the server would contain a second driver. It also copies every
//! record once more.
//!
//! Invariants: what the session has to send is sent before anything is waited for. Records that
//! have arrived are kept until the session has room for them, so that nothing is lost when a
//! response ends within a piece that was received.

use super::failure::Failure;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpStream;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use std::io::{ErrorKind, Read, Write};
use std::ops::Range;
use std::sync::Arc;

/// The buffer holds four of the largest records.
const RECEIVE_BYTES: usize = 64 << 10;

/// Holds what all connections of an engine share: the trusted certificates, sessions to resume, and
/// the name of the server.
pub struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    /// Verifies certificates against those that the system trusts.
    ///
    /// # Errors
    /// Fails when the system trusts none, or when `host` is no valid name.
    pub fn checked(host: &str) -> Result<Self, String> {
        let verifier = rustls_platform_verifier::Verifier::new(provider()).map_err(|error| {
            format!(
                "https=on: {error}; install the system's certificates (ca-certificates), name a file of them in \
                 SSL_CERT_FILE, or use https=insecure"
            )
        })?;
        Self::with(host, Arc::new(verifier))
    }

    /// Accepts any certificate.
    ///
    /// # Errors
    /// Fails when `host` is no valid name.
    pub fn unchecked(host: &str) -> Result<Self, String> {
        Self::with(host, Arc::new(Credulous(provider())))
    }

    fn with(host: &str, verifier: Arc<dyn ServerCertVerifier>) -> Result<Self, String> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| format!("http_host={host} can not be in a certificate: {error}"))?;
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| format!("https: {error}"))?;
        let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), name })
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Accepts any certificate: `https=insecure`.
#[derive(Debug)]
struct Credulous(Arc<CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// This is one connection with TLS.
pub struct TlsStream {
    stream: TcpStream,
    session: ClientConnection,
    incoming: Box<[u8]>,
    /// This is the part of `incoming` that the session has not taken yet.
    have: Range<usize>,
    outgoing: Vec<u8>,
}

impl TlsStream {
    /// Performs the handshake with the server on the other side of `stream`.
    ///
    /// # Errors
    /// Fails when the handshake fails or the server's certificate is not accepted.
    pub async fn connect(stream: TcpStream, tls: &Tls) -> Result<Self, Failure> {
        let session = ClientConnection::new(tls.config.clone(), tls.name.clone()).map_err(Failure::Tls)?;
        let incoming = vec![0; RECEIVE_BYTES].into();
        let mut this = Self { stream, session, incoming, have: 0..0, outgoing: Vec::new() };
        this.flush().await?;
        while this.session.is_handshaking() {
            if !this.receive().await? {
                return Err(Failure::Closed);
            }
            this.flush().await?;
        }
        Ok(this)
    }

    /// Reads what has arrived, as far as it fits; returns 0 when the server has closed in order.
    ///
    /// # Errors
    /// Fails when the connection is broken, or when the data are not TLS.
    pub async fn read(&mut self, into: &mut [u8]) -> Result<usize, Failure> {
        loop {
            match self.session.reader().read(into) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // A body that lasts until the end of its connection needs an explicit end (RFC
                // 9112, 9.8).
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(Failure::Closed),
                outcome => return Ok(outcome?),
            }
            self.receive().await?;
        }
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// Fails when the connection is broken.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let count = self.session.writer().write(bytes)?;
            assert!(count > 0, "the session has room when everything was sent");
            bytes = &bytes[count..];
            self.flush().await?;
        }
        Ok(())
    }

    /// Tells the server that nothing more follows (RFC 9112, 9.8), and does not wait for its reply.
    pub async fn close(mut self) {
        self.session.send_close_notify();
        // If the server is gone, the failure does not matter.
        let _ = self.flush().await;
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        while self.session.wants_write() {
            self.session.write_tls(&mut self.outgoing)?;
        }
        if self.outgoing.is_empty() {
            return Ok(());
        }
        let (sent, outgoing) = self.stream.write_all(std::mem::take(&mut self.outgoing)).await;
        self.outgoing = outgoing;
        self.outgoing.clear();
        sent?;
        Ok(())
    }

    /// Passes more of the received data to the session, and receives from the socket when nothing
    /// is left. Returns false at the end of the stream.
    async fn receive(&mut self) -> Result<bool, Failure> {
        if self.have.is_empty() {
            let (received, incoming) = self.stream.read(std::mem::take(&mut self.incoming)).await;
            self.incoming = incoming;
            self.have = 0..received?;
        }
        let mut left = &self.incoming[self.have.clone()];
        let taken = self.session.read_tls(&mut left)?;
        self.have.start = self.have.end - left.len();
        if let Err(error) = self.session.process_new_packets() {
            // This sends the alert that tells the server the reason. Only the error of TLS is
            // reported.
            let _ = self.flush().await;
            return Err(Failure::Tls(error));
        }
        Ok(taken > 0)
    }
}
