//! This module terminates TLS in front of a server with plain HTTP, as nginx does, with a
//! certificate of its own.
//!
//! Invariant: a connection is closed towards one side when the other side closes it.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

const PIECE_BYTES: usize = 32 << 10;

/// Serves until the test's process ends.
pub struct TlsProxy {
    address: SocketAddr,
    authority_pem: String,
    /// Receives a message for each connection that its client has ended with the alert of TLS.
    pub farewells: Receiver<()>,
}

/// Holds what all connections share.
struct Front {
    config: Arc<ServerConfig>,
    backend: SocketAddr,
    farewells: Sender<()>,
}

impl TlsProxy {
    /// Starts a proxy in front of `backend`, with a certificate for `names`.
    pub fn start(backend: SocketAddr, names: &[&str]) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let (authority_key, key) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
        let authority_pem = params.self_signed(&authority_key).expect("an authority").pem();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let own = CertificateParams::new(names).expect("names");
        let own = own.signed_by(&key, &Issuer::from_params(&params, &authority_key)).expect("a certificate");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let (sender, farewells) = channel();
        let config = config(own.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into()));
        let front = Arc::new(Front { config, backend, farewells: sender });
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let front = front.clone();
                // The client notices errors of a connection.
                std::thread::spawn(move || _ = front.serve(stream));
            }
        });
        Self { address, authority_pem, farewells }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the certificate of the authority that signed the server's certificate.
    pub fn authority_pem(&self) -> &str {
        &self.authority_pem
    }
}

/// Returns the settings of a server with this certificate.
pub fn config(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("protocol versions").with_no_client_auth();
    Arc::new(builder.with_single_cert(vec![certificate], key).expect("a usable certificate"))
}

impl Front {
    /// Serves one connection of a client until one side ends it.
    fn serve(&self, client: TcpStream) -> io::Result<()> {
        let backend = TcpStream::connect(self.backend)?;
        client.set_nodelay(true)?;
        backend.set_nodelay(true)?;
        let session = ServerConnection::new(self.config.clone()).map_err(io::Error::other)?;
        let session = Mutex::new(session);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                _ = answers(&session, &backend, &client);
                _ = client.shutdown(Shutdown::Both);
            });
            let outcome = self.requests(&session, &client, &backend);
            _ = backend.shutdown(Shutdown::Both);
            outcome
        })
    }

    fn requests(
        &self,
        session: &Mutex<ServerConnection>,
        client: &TcpStream,
        backend: &TcpStream,
    ) -> io::Result<()> {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let count = (&*client).read(&mut piece)?;
            let mut left = &piece[..count];
            while !left.is_empty() {
                let plain = self.take(
                    &mut session.lock().unwrap_or_else(PoisonError::into_inner),
                    &mut left,
                    client,
                )?;
                (&*backend).write_all(&plain)?;
            }
            if count == 0 {
                return Ok(());
            }
        }
    }

    /// Decrypts some of what came from the client.
    fn take(
        &self,
        session: &mut ServerConnection,
        left: &mut &[u8],
        client: &TcpStream,
    ) -> io::Result<Vec<u8>> {
        if session.read_tls(left)? == 0 {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        let state = session.process_new_packets();
        send(session, client)?;
        if state.map_err(io::Error::other)?.peer_has_closed() {
            // Nobody receives the message when the test is over.
            _ = self.farewells.send(());
        }
        let mut plain = Vec::new();
        match session.reader().read_to_end(&mut plain) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(plain),
        }
    }
}

fn answers(session: &Mutex<ServerConnection>, backend: &TcpStream, client: &TcpStream) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = (&*backend).read(&mut piece)?;
        let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
        if count == 0 {
            session.send_close_notify();
            return send(&mut session, client);
        }
        session.writer().write_all(&piece[..count])?;
        send(&mut session, client)?;
    }
}

fn send(session: &mut ServerConnection, mut client: &TcpStream) -> io::Result<()> {
    while session.wants_write() {
        session.write_tls(&mut client)?;
    }
    Ok(())
}
