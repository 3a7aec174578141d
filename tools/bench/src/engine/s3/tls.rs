//! TLS over a connection: a session of rustls between our buffers and a socket of monoio.
//!
//! Why not monoio-rustls: it needs monoio with all of its default features, and features are those of the whole binary,
//! so that the server would carry a second driver. It also copies every record once more.
//!
//! Invariants: what the session wants to send is sent before anything is waited for; records that came are kept until
//! the session has room for them, so that nothing is lost when an answer ends within a piece that was received.

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

/// Four of the largest records.
const RECEIVE_BYTES: usize = 64 << 10;

/// What all connections of an engine share: who is trusted, sessions to take up again, and the name of the server.
pub struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    /// Certificates are checked against those that the system trusts.
    ///
    /// # Errors
    /// When the system trusts none, or `host` is no name.
    pub fn checked(host: &str) -> Result<Self, String> {
        let verifier = rustls_platform_verifier::Verifier::new(provider()).map_err(|error| {
            format!(
                "https=on: {error}; install the system's certificates (ca-certificates), name a file of them in \
                 SSL_CERT_FILE, or use https=insecure"
            )
        })?;
        Self::with(host, Arc::new(verifier))
    }

    /// Whoever answers is believed.
    ///
    /// # Errors
    /// When `host` is no name.
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

/// Does not look at certificates: `https=insecure`.
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

/// One connection.
pub struct TlsStream {
    stream: TcpStream,
    session: ClientConnection,
    incoming: Box<[u8]>,
    /// Of `incoming`: what the session has not taken.
    have: Range<usize>,
    outgoing: Vec<u8>,
}

impl TlsStream {
    /// Shakes hands with the server on the other side of `stream`.
    ///
    /// # Errors
    /// When there is no agreement, or its certificate is not accepted.
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

    /// What came, as much as is there and fits; 0: the server has closed in order.
    ///
    /// # Errors
    /// When the connection broke off, or what comes is no TLS.
    pub async fn read(&mut self, into: &mut [u8]) -> Result<usize, Failure> {
        loop {
            match self.session.reader().read(into) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // The end of a body that lasts as long as its connection has to be said (RFC 9112, 9.8).
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(Failure::Closed),
                outcome => return Ok(outcome?),
            }
            self.receive().await?;
        }
    }

    /// # Errors
    /// When the connection broke off.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let count = self.session.writer().write(bytes)?;
            assert!(count > 0, "the session has room when everything was sent");
            bytes = &bytes[count..];
            self.flush().await?;
        }
        Ok(())
    }

    /// Tells the server that nothing more comes (RFC 9112, 9.8); its own farewell is not waited for.
    pub async fn close(mut self) {
        self.session.send_close_notify();
        // A server that is gone misses nothing.
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

    /// Gives the session more of what came, from the socket when nothing is left; false: there will be no more.
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
            // The alert that says why. It is the error that counts.
            let _ = self.flush().await;
            return Err(Failure::Tls(error));
        }
        Ok(taken > 0)
    }
}
