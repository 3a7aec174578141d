//! This module implements TLS over a connection: a session of `ringbolt-tls`, as the server has it, over a
//! socket of monoio.
//!
//! It does not use monoio-rustls, which needs monoio with all of its default features: features
//! apply to the whole binary, so the server would contain a second driver. It also copies every
//! record once more.
//!
//! Invariants: what the session has to send is sent before anything is waited for. What was decrypted and
//! is more than the reader asked for is kept, so that nothing is lost when a response ends within a piece
//! that was received.

use super::failure::Failure;
use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpStream;
use ringbolt_tls::{Sealer, Session, TlsError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use std::cell::RefCell;
use std::io::IoSlice;
use std::sync::Arc;

/// The buffer holds three of the largest records.
const RECEIVE_BYTES: usize = 64 << 10;
/// The most that is made into records before it is sent, in bytes.
const SEAL_BYTES_MAX: usize = 128 << 10;

thread_local! {
    static SEALER: RefCell<Sealer> = RefCell::default();
}

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
        Self::with(host, Arc::new(Credulous::default()))
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
pub struct Credulous(Arc<CryptoProvider>);

impl Default for Credulous {
    fn default() -> Self {
        Self(provider())
    }
}

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
    session: Session<ClientConnectionData>,
    /// This is where bytes are received, behind those that the session has kept. There is room for
    /// [`RECEIVE_BYTES`].
    incoming: Vec<u8>,
    /// These are decrypted bytes that nobody has read yet, from `read` on.
    plain: Vec<u8>,
    read: usize,
}

impl TlsStream {
    /// Performs the handshake with the server on the other side of `stream`.
    ///
    /// # Errors
    /// Fails when the handshake fails or the server's certificate is not accepted.
    pub async fn connect(stream: TcpStream, tls: &Tls) -> Result<Self, Failure> {
        let connection = UnbufferedClientConnection::new(tls.config.clone(), tls.name.clone());
        let session = Session::new(connection.map_err(Failure::Tls)?);
        let incoming = Vec::with_capacity(RECEIVE_BYTES);
        let mut this = Self { stream, session, incoming, plain: Vec::new(), read: 0 };
        // The first call begins the handshake.
        this.take(&mut []).await?;
        while !this.session.is_open() {
            if !this.receive().await? {
                return Err(Failure::Closed);
            }
            this.take(&mut []).await?;
        }
        Ok(this)
    }

    /// Reads what has arrived, as far as it fits; returns 0 when the server has closed in order.
    ///
    /// # Errors
    /// Fails when the connection is broken, or when the data are not TLS.
    pub async fn read(&mut self, into: &mut [u8]) -> Result<usize, Failure> {
        loop {
            let left = &self.plain[self.read..];
            if !left.is_empty() {
                let count = left.len().min(into.len());
                into[..count].copy_from_slice(&left[..count]);
                self.read += count;
                return Ok(count);
            }
            self.plain.clear();
            self.read = 0;
            if self.session.peer_closed() {
                return Ok(0);
            }
            // A body that lasts until the end of its connection needs an explicit end (RFC 9112, 9.8).
            if !self.receive().await? {
                return Err(Failure::Closed);
            }
            let count = self.take(into).await?;
            if count > 0 {
                return Ok(count);
            }
        }
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// Fails when the connection is broken.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let (count, records) = SEALER.with_borrow_mut(|sealer| {
                let count =
                    self.session.seal(&[IoSlice::new(bytes)], SEAL_BYTES_MAX, sealer).map_err(of_tls)?;
                Ok::<_, Failure>((count, sealer.records().to_vec()))
            })?;
            bytes = &bytes[count..];
            self.stream.write_all(records).await.0?;
        }
        Ok(())
    }

    /// Tells the server that nothing more follows (RFC 9112, 9.8), and does not wait for its reply.
    pub async fn close(mut self) {
        self.session.close();
        // If the server is gone, the failure does not matter.
        let _ = self.flush().await;
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        if !self.session.outgoing().is_empty() {
            let records = self.session.take_outgoing();
            self.stream.write_all(records).await.0?;
        }
        Ok(())
    }

    /// Receives behind what is there. Returns false at the end of the stream.
    async fn receive(&mut self) -> Result<bool, Failure> {
        self.incoming.clear();
        self.incoming.extend_from_slice(self.session.kept());
        let begin = self.incoming.len();
        if begin == self.incoming.capacity() {
            // No record is so long, and a message of the handshake may not be.
            return Err(Failure::Tls(Error::General("the server sends a message without end".to_owned())));
        }
        let buffer = std::mem::take(&mut self.incoming).slice_mut(begin..);
        let (received, buffer) = self.stream.read(buffer).await;
        self.incoming = buffer.into_inner();
        Ok(received? > 0)
    }

    /// Passes what was received to the session, and sends what that has to send. Decrypted bytes go to
    /// `into`, and those beyond it are kept. Returns how many went there.
    async fn take(&mut self, into: &mut [u8]) -> Result<usize, Failure> {
        let (mut read, plain) = (0, &mut self.plain);
        let taken = self.session.take(&mut self.incoming, |piece| {
            let fits = if plain.is_empty() { piece.len().min(into.len() - read) } else { 0 };
            into[read..read + fits].copy_from_slice(&piece[..fits]);
            read += fits;
            plain.extend_from_slice(&piece[fits..]);
        });
        match taken {
            Ok(()) => {
                self.flush().await?;
                Ok(read)
            }
            Err(error) => {
                // This sends the alert that tells the server the reason. Only the error of TLS is
                // reported.
                let _ = self.flush().await;
                Err(of_tls(error))
            }
        }
    }
}

fn of_tls(error: TlsError) -> Failure {
    match error {
        TlsError::Protocol(error) => Failure::Tls(error),
        TlsError::Exhausted | TlsError::NotOpen => Failure::Closed,
    }
}
