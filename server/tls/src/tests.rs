use super::*;
use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::ConnectionState;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::io::IoSlice;
use std::sync::{Arc, LazyLock};

type Client = Session<ClientConnectionData>;
type Server = Session<ServerConnectionData>;

struct Configs {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

fn configs(versions: &[&'static SupportedProtocolVersion]) -> Configs {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let client =
        ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions).unwrap();
    let server = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let server = server.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    Configs {
        client: Arc::new(client.with_root_certificates(roots).with_no_client_auth()),
        server: Arc::new(server),
    }
}

static BOTH: LazyLock<[Configs; 2]> =
    LazyLock::new(|| [configs(&[&rustls::version::TLS13]), configs(&[&rustls::version::TLS12])]);

/// One end, with what it heard.
struct End<S: Side> {
    session: Session<S>,
    heard: Vec<u8>,
}

impl<S: Side> End<S> {
    fn new(session: Session<S>) -> Self {
        Self { session, heard: Vec::new() }
    }

    /// Hears bytes in pieces of `step`.
    fn hear(&mut self, bytes: &[u8], step: usize) -> Result<(), TlsError> {
        for piece in bytes.chunks(step.max(1)) {
            self.take(piece)?;
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), TlsError> {
        let heard = &mut self.heard;
        let mut incoming = [self.session.kept(), bytes].concat();
        self.session.take(&mut incoming, |piece| heard.extend_from_slice(piece))
    }

    fn say(&mut self, slices: &[&[u8]]) -> Vec<u8> {
        let mut sealer = Sealer::default();
        let slices: Vec<IoSlice<'_>> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        let all: usize = slices.iter().map(|slice| slice.len()).sum();
        assert_eq!(self.session.seal(&slices, usize::MAX, &mut sealer).unwrap(), all);
        sealer.records().to_vec()
    }
}

fn begin(configs: &Configs) -> (End<ClientConnectionData>, End<ServerConnectionData>) {
    let name = ServerName::try_from("localhost").unwrap();
    let client = Client::new(UnbufferedClientConnection::new(configs.client.clone(), name).unwrap());
    let server = Server::new(UnbufferedServerConnection::new(configs.server.clone()).unwrap());
    (End::new(client), End::new(server))
}

fn open(configs: &Configs, step: usize) -> (End<ClientConnectionData>, End<ServerConnectionData>) {
    let (mut client, mut server) = begin(configs);
    client.take(&[]).unwrap();
    while !client.session.is_open() || !server.session.is_open() {
        server.hear(&client.session.take_outgoing(), step).unwrap();
        client.hear(&server.session.take_outgoing(), step).unwrap();
    }
    (client, server)
}

/// Returns the lengths of records on the wire, with their headers.
fn lengths(mut records: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    while let [_, _, _, high, low, ..] = records {
        let length = 5 + usize::from(u16::from_be_bytes([*high, *low]));
        found.push(length);
        records = &records[length..];
    }
    assert!(records.is_empty(), "records are whole");
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_said_is_heard_however_it_is_cut(
        version in 0..2usize,
        step in prop_oneof![1..40usize, 1..40_000usize],
        messages in prop::collection::vec(
            (any::<bool>(), prop::collection::vec(prop_oneof![0..300usize, 0..40_000usize], 0..4)),
            0..6,
        ),
    ) {
        let (mut client, mut server) = open(&BOTH[version], step);
        let (mut by_client, mut by_server) = (Vec::new(), Vec::new());
        for (number, (is_client, sizes)) in messages.into_iter().enumerate() {
            let slices: Vec<Vec<u8>> = sizes
                .into_iter()
                .map(|size| (0..size).map(|at| (at + number) as u8).collect())
                .collect();
            let slices: Vec<&[u8]> = slices.iter().map(Vec::as_slice).collect();
            let whole = slices.concat();
            if is_client {
                let records = client.say(&slices);
                prop_assert!(lengths(&records).iter().all(|length| *length <= RECORD_BYTES_MAX));
                server.hear(&records, step).unwrap();
                by_client.extend(whole);
            } else {
                client.hear(&server.say(&slices), step).unwrap();
                by_server.extend(whole);
            }
        }
        prop_assert_eq!((server.heard, client.heard), (by_client, by_server));
        prop_assert!(server.session.kept().is_empty() && client.session.kept().is_empty());
    }
}

#[test]
fn slices_share_records() {
    let (_, mut server) = open(&BOTH[0], usize::MAX);
    let small = server.say(&[&[1; 300], &[2; 4096]]);
    assert_eq!(lengths(&small), [5 + 300 + 4096 + 1 + 16]);
    let large = server.say(&[&[1; 300], &[2; 40_000]]);
    let full = 5 + 16384 + 1 + 16;
    assert_eq!(lengths(&large), [full, full, 5 + 300 + 40_000 - 2 * 16384 + 1 + 16]);
    let mut sealer = Sealer::default();
    let limited = server.session.seal(&[IoSlice::new(&[1; 100]), IoSlice::new(&[2; 100])], 150, &mut sealer);
    assert_eq!((limited.unwrap(), lengths(sealer.records())), (150, vec![5 + 150 + 1 + 16]));
}

#[test]
fn nothing_is_said_before_the_handshake_nor_after_the_end() {
    let (mut client, mut server) = begin(&BOTH[0]);
    let mut sealer = Sealer::default();
    let early = server.session.seal(&[IoSlice::new(b"early")], 5, &mut sealer);
    assert!(matches!(early, Err(TlsError::NotOpen)) && sealer.records().is_empty());
    client.take(&[]).unwrap();
    let early = client.session.seal(&[IoSlice::new(b"early")], 5, &mut sealer);
    assert!(matches!(early, Err(TlsError::NotOpen)));
    let (mut client, mut server) = open(&BOTH[0], usize::MAX);
    server.hear(&client.say(&[b"last"]), usize::MAX).unwrap();
    client.session.close();
    server.hear(&client.session.take_outgoing(), usize::MAX).unwrap();
    assert!(server.session.peer_closed() && server.heard == b"last");
    assert!(client.session.seal(&[IoSlice::new(b"late")], 4, &mut sealer).is_err());
    // The other side may still answer.
    client.hear(&server.say(&[b"answer"]), usize::MAX).unwrap();
    assert_eq!(client.heard, b"answer");
}

#[test]
fn whoever_breaks_the_rules_is_told_and_not_heard_any_more() {
    // A handshake that is none, and a record that somebody changed.
    let (_, mut server) = begin(&BOTH[0]);
    assert!(matches!(server.hear(b"GET / HTTP/1.1\r\n\r\n", usize::MAX), Err(TlsError::Protocol(_))));
    assert_eq!(lengths(server.session.outgoing()), [7], "an alert");
    let (mut client, mut server) = open(&BOTH[0], usize::MAX);
    let mut records = client.say(&[b"secret"]);
    let last = records.len() - 1;
    records[last] ^= 1;
    assert!(matches!(server.hear(&records, usize::MAX), Err(TlsError::Protocol(_))));
    assert!(server.heard.is_empty());
    let alert = server.session.take_outgoing();
    assert!(matches!(
        client.hear(&alert, usize::MAX),
        Err(TlsError::Protocol(rustls::Error::AlertReceived(_)))
    ));
    assert!(matches!(server.hear(&client.session.take_outgoing(), 1), Ok(())), "nothing is left to hear");
    let mut sealer = Sealer::default();
    assert!(server.session.seal(&[IoSlice::new(b"more")], 4, &mut sealer).is_err());
}

/// rustls remembers where in the bytes it was shown the beginning of a message lies. It was shown none when
/// something was to be sent, and panicked: a client could end the process of a server so.
#[test]
fn a_message_that_is_not_whole_yet_is_shown_again_when_something_is_sent() {
    let (mut client, mut server) = begin(&BOTH[0]);
    client.take(&[]).unwrap();
    let hello = client.session.take_outgoing();
    // The message of the handshake in two records.
    let (message, half) = (&hello[5..], (hello.len() - 5) / 2);
    let record = |part: &[u8]| [&[0x16, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat();
    server.hear(&record(&message[..half]), usize::MAX).unwrap();
    assert!(!server.session.kept().is_empty());
    let mut sealer = Sealer::default();
    assert!(server.session.seal(&[IoSlice::new(b"early")], 5, &mut sealer).is_err());
    server.session.close();
    server.hear(&record(&message[half..]), usize::MAX).unwrap();
    client.hear(&server.session.take_outgoing(), usize::MAX).unwrap();
    server.hear(&client.session.take_outgoing(), usize::MAX).unwrap();
    assert!(client.session.is_open() && server.session.is_open());
}

/// The same with a certificate that is not trusted: messages behind it have come already.
#[test]
fn whoever_is_not_trusted_is_told_while_more_of_its_messages_wait() {
    let other = configs(&[&rustls::version::TLS13]);
    let configs = Configs { client: other.client, server: BOTH[0].server.clone() };
    let (mut client, mut server) = begin(&configs);
    client.take(&[]).unwrap();
    server.hear(&client.session.take_outgoing(), usize::MAX).unwrap();
    let refused = client.hear(&server.session.take_outgoing(), usize::MAX);
    assert!(matches!(refused, Err(TlsError::Protocol(rustls::Error::InvalidCertificate(_)))), "{refused:?}");
    let told = server.hear(&client.session.take_outgoing(), usize::MAX);
    assert!(matches!(told, Err(TlsError::Protocol(rustls::Error::AlertReceived(_)))), "{told:?}");
}

#[test]
fn a_new_key_goes_before_what_it_encrypts() {
    let (mut client, mut server) = open(&BOTH[0], usize::MAX);
    client.hear(&server.say(&[b"1"]), usize::MAX).unwrap();
    // The client asks for a new key of the server's.
    let state = ClientConnectionData::process(client.connection_of(), &mut []).state.unwrap();
    let ConnectionState::WriteTraffic(traffic) = state else { panic!("{state:?}") };
    traffic.refresh_traffic_keys().unwrap();
    server.hear(&client.say(&[b"2"]), 3).unwrap();
    client.hear(&server.say(&[b"3", b"4"]), 3).unwrap();
    server.hear(&client.say(&[b"5"]), 3).unwrap();
    assert_eq!((server.heard.as_slice(), client.heard.as_slice()), (&b"25"[..], &b"134"[..]));
}

impl End<ClientConnectionData> {
    fn connection_of(&mut self) -> &mut UnbufferedClientConnection {
        self.session.connection_mut()
    }
}
