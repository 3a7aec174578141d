//! These tests check certificates that an authority signs for a real server by ACME: they are ordered,
//! proven, kept and renewed, and what the authority refuses is said.

use crate::support::flags;
use crate::tls::trusting;
use ringbolt_tests::authority::{Authority, Behaviour};
use ringbolt_tests::{Server, ServerOptions};
use rustls::ClientConnection;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

const HOSTS: [&str; 2] = ["s3.example", "bucket.s3.example"];
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const LIMIT: Duration = Duration::from_secs(60);

fn authority(life: (Duration, Duration)) -> Authority {
    Authority::start(Behaviour { port: 0, life, refused: Vec::new(), retry_after: "1" })
}

fn server(authority: &Authority) -> Server {
    let (hosts, url, root) = (HOSTS.join(","), authority.url(), authority.root().display().to_string());
    let given = [
        ["--acme-host", &hosts],
        ["--acme-directory", &url],
        ["--acme-ca", &root],
        ["--acme-contact", "operator@s3.example"],
    ];
    Server::start(ServerOptions { flags: flags(&given.concat()), ..ServerOptions::default() })
}

fn port(url: &str) -> u16 {
    let behind = url.rsplit(':').next().expect("a port");
    behind.split('/').next().and_then(|port| port.parse().ok()).expect("a number")
}

/// Performs a handshake with `host`, by a client that trusts the authority alone and speaks `protocols`.
fn shake(authority: &Authority, port: u16, host: &'static str, protocols: &[&[u8]]) -> std::io::Result<()> {
    let root = CertificateDer::from_pem_file(authority.root()).expect("a certificate");
    let mut config = (*trusting(&[root])).clone();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from(host).expect("a name");
    let mut connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(LIMIT))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(())
}

fn wait_until(server: &Server, what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < until, "{what} never came:\n{}", server.log());
        std::thread::yield_now();
    }
}

#[test]
fn a_certificate_is_ordered_proven_kept_and_renewed() {
    // It has more than two thirds of its life behind it, so that the next is due at once.
    let authority = authority((60 * DAY, 10 * DAY));
    let mut server = server(&authority);
    let s3 = port(server.endpoint());
    assert!(shake(&authority, s3, HOSTS[0], &[]).is_err(), "nothing is signed yet");
    authority.behave(|behaviour| behaviour.port = s3);
    for port in [s3, port(&server.admin_endpoint())] {
        for host in HOSTS {
            let is_signed = || shake(&authority, port, host, &[b"http/1.1"]).is_ok();
            wait_until(&server, "a signed certificate", is_signed);
        }
    }
    // A proof would be refused because nobody signed it.
    let refused = shake(&authority, s3, HOSTS[0], &[b"acme-tls/1"]).expect_err("no proof is shown any more");
    assert!(!refused.to_string().contains("certificate"), "{refused}");
    assert_eq!(authority.counts(), (1, 1, 1));
    for file in ["acme-account.key", "tls-acme.pem"] {
        let metadata = std::fs::metadata(server.data_dir().join(file)).expect("it is there");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{file}");
    }
    authority.behave(|behaviour| behaviour.life = (DAY, 89 * DAY));
    server.hang_up();
    wait_until(&server, "a renewed certificate", || authority.counts() == (1, 2, 2));
    wait_until(&server, "its use", || server.log().matches("is in use").count() == 2);
    assert!(server.stop().success());
    server.start_again();
    let again = port(server.endpoint());
    assert!(shake(&authority, again, HOSTS[1], &[]).is_ok(), "it was kept:\n{}", server.log());
    // What is damaged changes nothing of what is in use, and the office looks and has nothing to order.
    let path = server.data_dir().join("tls-acme.pem");
    let kept = std::fs::read(&path).expect("the certificate");
    std::fs::write(&path, "damaged").expect("spoil it");
    server.hang_up();
    wait_until(&server, "the failure", || server.log().contains("goes on with those it has"));
    assert!(shake(&authority, again, HOSTS[1], &[]).is_ok(), "it goes on:\n{}", server.log());
    std::fs::write(&path, kept).expect("mend it");
    let looks = || server.log().matches("the certificate in use will do").count();
    let before = looks();
    server.hang_up();
    wait_until(&server, "a look", || looks() > before);
    assert!(server.stop().success());
    assert_eq!(authority.counts(), (1, 2, 2), "a certificate that will do for long is not ordered again");
    assert_eq!(authority.faults(), Vec::<String>::new());
}

#[test]
fn what_an_authority_refuses_is_said_and_mended_by_the_next_try() {
    let authority = authority((DAY, 89 * DAY));
    authority.behave(|behaviour| behaviour.refused = vec![HOSTS[1].to_owned()]);
    let server = server(&authority);
    let s3 = port(server.endpoint());
    let is_said = |text: &'static str| {
        wait_until(&server, text, || server.log().contains(text));
    };
    is_said("bucket.s3.example is not signed for");
    // What is at the other port shows no proof.
    let other = port(&authority.url());
    authority.behave(|behaviour| {
        behaviour.refused.clear();
        behaviour.port = other;
    });
    server.hang_up();
    is_said("the authority does not believe that this server is at s3.example");
    // An account that the authority forgot is made again, and a time that no clock has ends nothing.
    authority.forget_accounts();
    authority.behave(|behaviour| (behaviour.port, behaviour.retry_after) = (s3, "18446744073709551615"));
    // A certificate that can not be kept is not ordered again: a directory is in its way.
    let path = server.data_dir().join("tls-acme.pem");
    std::fs::create_dir_all(path.join("in-the-way")).expect("a directory");
    server.hang_up();
    wait_until(&server, "a failure", || server.log().contains("can not finish"));
    assert_eq!(authority.counts(), (1, 2, 1));
    std::fs::remove_dir_all(&path).expect("out of the way");
    server.hang_up();
    wait_until(&server, "a signed certificate", || shake(&authority, s3, HOSTS[0], &[]).is_ok());
    assert_eq!(authority.counts(), (1, 2, 1), "the one that was signed is used");
}
