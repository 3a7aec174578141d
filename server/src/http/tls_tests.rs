//! Connections with TLS over a real listener.

use super::testing::{Client, LARGE_BYTES, Server};
use super::*;
use crate::tls::testing::client;
use crate::tls::{CertificateSource, Tls, TlsOptions};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;
use tempfile::TempDir;

struct Authority {
    directory: TempDir,
    tls: Arc<Tls>,
}

fn authority() -> Authority {
    let directory = tempfile::tempdir().unwrap();
    let source = CertificateSource::SelfSigned {
        directory: directory.path().to_owned(),
        hosts: vec!["localhost".to_owned()],
    };
    let tls = Tls::load(TlsOptions { source, clients: None }).unwrap();
    Authority { directory, tls }
}

type TlsStream = StreamOwned<ClientConnection, TcpStream>;

impl Authority {
    fn config(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        self.config_of(alpn, rustls::DEFAULT_VERSIONS)
    }

    fn config_of(
        &self,
        alpn: &[&str],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let path = self.directory.path().join("tls-self-signed.crt");
        let mut config = client(&[&path], versions).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    fn connect(&self, address: SocketAddr) -> Client<TlsStream> {
        self.connect_with(address, self.config(&[]))
    }

    fn connect_with(&self, address: SocketAddr, config: Arc<ClientConfig>) -> Client<TlsStream> {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        Client(BufReader::new(StreamOwned::new(ClientConnection::new(config, name).unwrap(), stream)))
    }
}

#[test]
fn requests_and_long_bodies_pass_both_ways() {
    let authority = authority();
    let server = Server::start_with(Limits::default(), true, Some(authority.tls.clone()));
    let mut client = authority.connect(server.address());
    for size in [0, 1, 16_384, 16_385, 3_000_000] {
        let head = format!("PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n");
        let answer = client.send(&head).send(&"x".repeat(size)).answer();
        assert_eq!(answer.status, 200);
        assert!(answer.text().starts_with(&format!("/b/k {size} h ")), "{}", answer.text());
    }
    let answer = client.send("GET /large HTTP/1.1\r\nHost: h\r\n\r\n").answer();
    assert_eq!(answer.body.len(), LARGE_BYTES);
    assert!(answer.body.iter().all(|byte| *byte == 7));
    // Requests that are sent together are answered one after another.
    client.send(&"GET /b HTTP/1.1\r\nHost: h\r\n\r\n".repeat(3));
    assert!((0..3).all(|_| client.answer().status == 200));
    assert_eq!(server.stop(), 0);
}

#[test]
fn both_versions_are_spoken_and_sessions_resumed() {
    let authority = authority();
    let server = Server::start_with(Limits::default(), true, Some(authority.tls.clone()));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = authority.config_of(&[], &[version]);
        for expected in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
            let mut client = authority.connect_with(server.address(), config.clone());
            for _ in 0..2 {
                assert_eq!(client.send("GET /b HTTP/1.1\r\nHost: h\r\n\r\n").answer().status, 200);
            }
            assert_eq!(client.0.get_ref().conn.handshake_kind(), Some(expected), "{version:?}");
        }
    }
    assert_eq!(server.stop(), 0);
}

#[test]
fn a_slow_reader_gets_all_of_a_long_answer() {
    let authority = authority();
    let server = Server::start_with(Limits::default(), true, Some(authority.tls.clone()));
    let mut client = authority.connect(server.address());
    client.send("GET /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    // Until now the server has filled the socket's buffers, and keeps what did not fit.
    let mut others = authority.connect(server.address());
    assert_eq!(others.send("GET /b HTTP/1.1\r\nHost: h\r\n\r\n").answer().status, 200);
    assert_eq!(client.answer().body.len(), LARGE_BYTES);
    assert!(client.closed(), "the end is said in TLS");
    assert_eq!(server.stop(), 0);
}

#[test]
fn whoever_ends_its_side_still_gets_its_answer() {
    let authority = authority();
    let server = Server::start_with(Limits::default(), true, Some(authority.tls.clone()));
    let mut client = authority.connect(server.address());
    client.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n");
    let stream = client.0.get_mut();
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
    authority.connect(server.address()).send("GET /go HTTP/1.1\r\nHost: h\r\n\r\n").answer();
    assert_eq!(client.answer().status, 200);
    assert_eq!(server.stop(), 0);
}

#[test]
fn http_1_is_agreed_on_and_nothing_else_is_spoken() {
    let authority = authority();
    let server = Server::start_with(Limits::default(), true, Some(authority.tls.clone()));
    let mut client = authority.connect_with(server.address(), authority.config(&["h2", "http/1.1"]));
    assert_eq!(client.send("GET /b HTTP/1.1\r\nHost: h\r\n\r\n").answer().status, 200);
    assert_eq!(client.0.get_ref().conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut client = authority.connect_with(server.address(), authority.config(&["h2"]));
    let refused = client.0.get_mut().write_all(b"PRI * HTTP/2.0\r\n\r\n").unwrap_err().to_string();
    assert!(refused.contains("NoApplicationProtocol"), "{refused}");
}

#[test]
fn plain_http_is_told_to_write_https_and_garbage_gets_an_alert() {
    let authority = authority();
    let server = Server::start_with(Limits::default(), true, Some(authority.tls.clone()));
    for address in [server.address(), server.admin_address()] {
        let mut client = Client::to(address);
        let answer = client.send("GET /ringbolt/health HTTP/1.1\r\nHost: h\r\n\r\n").answer();
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains("write https://"), "{}", answer.text());
        assert!(client.closed());
    }
    let mut client = server.connect();
    client.0.get_mut().write_all(&[0x16, 3, 1, 0, 4, 1, 0, 0, 0]).unwrap();
    let mut alert = Vec::new();
    client.0.read_to_end(&mut alert).unwrap();
    assert_eq!((alert.first(), alert.len()), (Some(&21), 7), "{alert:?}");
}

#[test]
fn the_admin_address_speaks_it_and_its_socket_does_not() {
    let authority = authority();
    let server = Server::start_with(Limits::default(), true, Some(authority.tls.clone()));
    let mut client = authority.connect(server.admin_address());
    assert_eq!(client.send("GET /ringbolt/health HTTP/1.1\r\nHost: h\r\n\r\n").answer().status, 200);
    let mut socket = std::os::unix::net::UnixStream::connect(server.admin_socket()).unwrap();
    socket.write_all(b"GET /ringbolt/health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_handshake_that_stands_still_ends_and_holds_up_nobody() {
    let limits = Limits { header_time: Duration::from_millis(500), ..Limits::default() };
    let authority = authority();
    let server = Server::start_with(limits, true, Some(authority.tls.clone()));
    let began = Instant::now();
    // One says nothing, one stops in the middle of its first message.
    let mut silent = server.connect();
    let mut half = server.connect();
    half.0.get_mut().write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).unwrap();
    let mut client = authority.connect(server.address());
    assert_eq!(client.send("GET /b HTTP/1.1\r\nHost: h\r\n\r\n").answer().status, 200);
    assert!(silent.closed() && half.closed());
    assert!(began.elapsed() >= Duration::from_millis(500), "they had their time");
}

#[test]
fn an_address_has_so_many_handshakes_a_second() {
    let limits = Limits { handshakes_per_address: Some(1), ..Limits::default() };
    let authority = authority();
    let server = Server::start_with(limits, true, Some(authority.tls.clone()));
    let get = "GET /b HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(authority.connect(server.address()).send(get).answer().status, 200);
    // Those behind it wait, the longer the more there are, and the last does not get in at all.
    let mut waiting: Vec<Client> = (0..8).map(|_| server.connect()).collect();
    assert!(waiting.last_mut().unwrap().closed());
    let other = server.connect_from([127, 0, 0, 2]).0.into_inner();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(authority.config(&[]), name).unwrap();
    let mut other = Client(BufReader::new(StreamOwned::new(connection, other)));
    assert_eq!(other.send(get).answer().status, 200);
}

#[test]
fn a_message_without_end_is_cut() {
    let authority = authority();
    let server = Server::start_with(Limits::default(), true, Some(authority.tls.clone()));
    let mut client = server.connect();
    let stream = client.0.get_mut();
    // A message of the handshake of 16 MiB, in records of 16 KiB.
    let mut first = vec![0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff];
    first.resize(5 + 0x4000, 0);
    let mut next = vec![0x16, 3, 1, 0x40, 0];
    next.resize(5 + 0x4000, 0);
    stream.write_all(&first).unwrap();
    for _ in 0..8 {
        stream.write_all(&next).unwrap();
    }
    let mut answer = Vec::new();
    client.0.read_to_end(&mut answer).unwrap();
    assert!(answer.len() <= 7, "an alert at most, and the end: {answer:?}");
}
