//! The glue of TLS: what a client sends, cut into pieces, before and behind a handshake.

use rcgen::{CertificateParams, KeyPair};
use ringbolt_tls::{Sealer, Session, TlsError};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::io::IoSlice;
use std::sync::{Arc, LazyLock};

struct Configs {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

static CONFIGS: LazyLock<Option<Configs>> = LazyLock::new(configs);

fn configs() -> Option<Configs> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = KeyPair::generate().ok()?;
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).ok()?.self_signed(&key).ok()?;
    let certificate: CertificateDer<'static> = certificate.der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).ok()?;
    let client =
        ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().ok()?;
    let server = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    Some(Configs {
        client: Arc::new(client.with_root_certificates(roots).with_no_client_auth()),
        server: Arc::new(server.with_no_client_auth().with_single_cert(vec![certificate], key).ok()?),
    })
}

/// The server's end, as a connection drives it.
struct End {
    session: Session<ServerConnectionData>,
    heard: Vec<u8>,
}

impl End {
    fn hear(&mut self, bytes: &[u8]) -> Result<(), TlsError> {
        let heard = &mut self.heard;
        let mut incoming = [self.session.kept(), bytes].concat();
        self.session.take(&mut incoming, |piece| heard.extend_from_slice(piece))?;
        assert!(self.session.kept().len() <= incoming.len(), "no more is kept than there was");
        Ok(())
    }
}

/// Speaks to a session. The first byte says whether the handshake is done before, and whether what
/// follows is to be encrypted by the client; each next byte is the length of a piece.
pub fn tls(input: &[u8]) {
    let Some(configs) = CONFIGS.as_ref() else { return };
    let [kind, input @ ..] = input else { return };
    let Ok(connection) = UnbufferedServerConnection::new(configs.server.clone()) else { return };
    let mut server = End { session: Session::new(connection), heard: Vec::new() };
    let mut client = None;
    if kind & 1 != 0 {
        client = open(configs, &mut server);
    }
    let mut expected = Vec::new();
    let mut rest = input;
    let mut sealer = Sealer::default();
    while let [length, behind @ ..] = rest {
        let (piece, behind) = behind.split_at(behind.len().min(usize::from(*length)));
        rest = behind;
        let records = match &mut client {
            Some(client) if kind & 2 != 0 => {
                let Ok(_) = client.seal(&[IoSlice::new(piece)], usize::MAX, &mut sealer) else { break };
                expected.extend_from_slice(piece);
                sealer.records().to_vec()
            }
            _ => piece.to_vec(),
        };
        let mut is_broken = false;
        // In two halves, wherever that is.
        for half in [&records[..records.len() / 2], &records[records.len() / 2..]] {
            is_broken |= server.hear(half).is_err();
            // An answer may be under way at any time.
            let answer = server.session.seal(&[IoSlice::new(b"answer")], 6, &mut sealer);
            assert!(
                answer.is_ok() == server.session.is_open(),
                "an answer is sent where the session is open"
            );
        }
        if is_broken {
            assert!(kind & 2 == 0 || client.is_none(), "what a client encrypted is understood");
            assert!(!server.session.is_open(), "nothing is said behind an error");
            return;
        }
    }
    assert_eq!(server.heard, expected, "what is heard is what was said, and nothing of an attacker");
    server.session.close();
}

/// Performs the handshake, and returns the client.
fn open(configs: &Configs, server: &mut End) -> Option<Session<ClientConnectionData>> {
    let name = ServerName::try_from("localhost").ok()?;
    let mut client = Session::new(UnbufferedClientConnection::new(configs.client.clone(), name).ok()?);
    let mut records = Vec::new();
    while !client.is_open() || !server.session.is_open() {
        let mut incoming = [client.kept(), &records].concat();
        client.take(&mut incoming, |_| {}).ok()?;
        server.hear(&client.take_outgoing()).ok()?;
        records = server.session.take_outgoing();
    }
    Some(client)
}
