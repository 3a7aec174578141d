//! These tests check HTTPS with a real server: certificates, their replacement under load, and what is
//! known of a client that speaks it.

use crate::support::{BUCKET, flags, make_bucket};
use rcgen::{CertificateParams, KeyPair};
use ringbolt_tests::client::MAIN;
use ringbolt_tests::{Server, ServerOptions, binary, raw_http};
use ringbolt_tool_common::process::without_settings;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Lets everybody read over TLS, one object by its newest version only.
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/any",
     "Condition":{"Bool":{"aws:SecureTransport":"true"}}},
    {"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/new",
     "Condition":{"NumericGreaterThanEquals":{"s3:TlsVersion":"1.3"}}}]}"#;

type Https = BufReader<StreamOwned<ClientConnection, TcpStream>>;

/// Writes a certificate with its key, and returns it.
fn write_pair(directory: &Path, name: &str) -> CertificateDer<'static> {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("names");
    let certificate = params.self_signed(&key).expect("a certificate");
    std::fs::write(directory.join(format!("{name}.crt")), certificate.pem()).expect("write it");
    std::fs::write(directory.join(format!("{name}.key")), key.serialize_pem()).expect("write its key");
    certificate.der().clone()
}

/// Returns the settings of a client that trusts these certificates alone.
pub fn trusting(certificates: &[CertificateDer<'static>]) -> Arc<ClientConfig> {
    trusting_by(certificates, rustls::DEFAULT_VERSIONS)
}

fn trusting_by(
    certificates: &[CertificateDer<'static>],
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone()).expect("a root");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions);
    Arc::new(builder.expect("versions").with_root_certificates(roots).with_no_client_auth())
}

fn address_of(url: &str) -> SocketAddr {
    url.split_once("://").expect("a scheme").1.parse().expect("an address")
}

fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> std::io::Result<Https> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(config.clone(), name).map_err(std::io::Error::other)?;
    Ok(BufReader::new(StreamOwned::new(connection, stream)))
}

/// Sends a request on a connection that is kept, and returns the status and the body.
fn ask(https: &mut Https, head: &str) -> std::io::Result<(u16, String)> {
    https.get_mut().write_all(format!("{head}\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let (mut status, mut length) = (0, 0);
    loop {
        let mut line = String::new();
        if https.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(rest) = line.strip_prefix("http/1.1 ") {
            status = rest[..3].parse().map_err(std::io::Error::other)?;
        } else if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().map_err(std::io::Error::other)?;
        } else if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    https.read_exact(&mut body)?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

struct Files {
    directory: TempDir,
    chain: PathBuf,
    key: PathBuf,
    first: CertificateDer<'static>,
}

fn files() -> Files {
    let directory = tempfile::tempdir().expect("a directory");
    let first = write_pair(directory.path(), "server");
    let (chain, key) = (directory.path().join("server.crt"), directory.path().join("server.key"));
    Files { directory, chain, key, first }
}

fn server_with(files: &Files, more: &[&str]) -> Server {
    let (chain, key) = (files.chain.display().to_string(), files.key.display().to_string());
    let given = [&["--tls-cert", &chain, "--tls-key", &key], more].concat();
    Server::start(ServerOptions { flags: flags(&given), ..ServerOptions::default() })
}

#[test]
fn a_certificate_is_replaced_under_load_without_a_failed_request() {
    const REPLACEMENTS: usize = 5;
    let files = files();
    // Its clients connect as fast as they can.
    let server = server_with(&files, &["--handshakes-per-address", "off"]);
    let address = address_of(server.endpoint());
    // All that will be used, so that clients trust whichever the server has at the moment.
    let pairs: Vec<(TempDir, CertificateDer<'static>)> = (0..REPLACEMENTS)
        .map(|_| {
            let directory = tempfile::tempdir().expect("a directory");
            let certificate = write_pair(directory.path(), "server");
            (directory, certificate)
        })
        .collect();
    let trusted: Vec<CertificateDer<'static>> =
        pairs.iter().map(|(_, certificate)| certificate.clone()).chain([files.first.clone()]).collect();
    let config = trusting(&trusted);
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let load: Vec<_> = (0..4)
        .map(|number| {
            let (config, stop, answered) = (config.clone(), stop.clone(), answered.clone());
            std::thread::spawn(move || {
                let mut kept = connect(address, &config).expect("a connection");
                while !stop.load(Ordering::Relaxed) {
                    // Half of the threads keep their connection; the others make one for each request.
                    if number % 2 == 0 {
                        kept = connect(address, &config).expect("a connection");
                    }
                    let (status, body) = ask(&mut kept, "GET / HTTP/1.1").expect("an answer");
                    assert_eq!(status, 200, "{body}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for (directory, certificate) in &pairs {
        let before = answered.load(Ordering::Relaxed);
        for name in ["server.crt", "server.key"] {
            std::fs::copy(directory.path().join(name), files.directory.path().join(name)).expect("replace");
        }
        server.hang_up();
        let only = trusting(std::slice::from_ref(certificate));
        let until = Instant::now() + Duration::from_secs(20);
        // It is there for every new connection once the signal has been handled.
        while connect(address, &only).and_then(|mut https| ask(&mut https, "GET / HTTP/1.1")).is_err() {
            assert!(Instant::now() < until, "the new certificate never came:\n{}", server.log());
        }
        while answered.load(Ordering::Relaxed) < before + 20 {
            assert!(Instant::now() < until + Duration::from_secs(20), "the load stands still");
            std::thread::yield_now();
        }
    }
    // A pair of which one half is missing changes nothing.
    std::fs::write(&files.key, "").expect("spoil it");
    server.hang_up();
    let until = Instant::now() + Duration::from_secs(20);
    while !server.log().contains("goes on with those it has") {
        assert!(Instant::now() < until, "the failure is not in the log:\n{}", server.log());
        std::thread::yield_now();
    }
    assert!(server.log().contains("no private key is in"), "{}", server.log());
    let last = trusting(&[pairs[REPLACEMENTS - 1].1.clone()]);
    assert_eq!(
        ask(&mut connect(address, &last).expect("connects"), "GET / HTTP/1.1").expect("an answer").0,
        200
    );
    stop.store(true, Ordering::Relaxed);
    for thread in load {
        thread.join().expect("no request failed");
    }
}

#[tokio::test]
async fn policies_see_tls_and_its_version() {
    let mut server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    client.put_object().bucket(BUCKET).key("any").send().await.expect("put");
    client.put_object().bucket(BUCKET).key("new").send().await.expect("put");
    client.put_bucket_policy().bucket(BUCKET).policy(POLICY).send().await.expect("put the policy");
    let plain = raw_http::request("GET", &format!("{}/{BUCKET}/any", server.endpoint()), b"").await;
    assert_eq!(plain.expect("an answer").status, 403, "it is not secure");
    assert!(server.stop().success());
    let files = files();
    let (chain, key) = (files.chain.display().to_string(), files.key.display().to_string());
    server.set_flags(flags(&["--tls-cert", &chain, "--tls-key", &key]));
    server.start_again();
    let address = address_of(server.endpoint());
    for (version, any, new) in [(&rustls::version::TLS12, 200, 403), (&rustls::version::TLS13, 200, 200)] {
        let config = trusting_by(std::slice::from_ref(&files.first), &[version]);
        let mut https = connect(address, &config).expect("connects");
        for (key, status) in [("any", any), ("new", new)] {
            let (found, body) = ask(&mut https, &format!("GET /{BUCKET}/{key} HTTP/1.1")).expect("an answer");
            assert_eq!(found, status, "{key} by {version:?}: {body}");
        }
    }
}

#[test]
fn the_admin_address_speaks_https_unless_it_is_told_not_to() {
    let files = files();
    let server = server_with(&files, &[]);
    let address = address_of(&server.admin_endpoint());
    let mut https = connect(address, &trusting(std::slice::from_ref(&files.first))).expect("connects");
    assert_eq!(ask(&mut https, "GET /ringbolt/health HTTP/1.1").expect("an answer").0, 200);
    let list = |ca: Option<&Path>| {
        let mut command = Command::new(binary::ringbolt());
        without_settings(&mut command).args(["bucket", "list", "--admin", &format!("https://{address}")]);
        command.env("RINGBOLT_ACCESS_KEY", MAIN.access_key).env("RINGBOLT_SECRET_KEY", MAIN.secret_key);
        if let Some(ca) = ca {
            command.arg("--admin-ca").arg(ca);
        }
        let output = command.output().expect("ringbolt runs");
        (
            output.status.success(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    };
    let (is_done, said) = list(Some(&files.chain));
    assert!(is_done, "{said}");
    let (is_done, said) = list(None);
    assert!(!is_done && said.contains("--admin-ca"), "{said}");
    let server = server_with(&files, &["--admin-tls", "off"]);
    let mut plain = TcpStream::connect(address_of(&server.admin_endpoint())).expect("connects");
    plain.write_all(b"GET /ringbolt/health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").expect("sends");
    let mut answer = String::new();
    plain.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_server_on_trial_signs_its_own_certificate_and_keeps_it() {
    let options = ServerOptions { flags: &["--tls", "self-signed"], ..ServerOptions::default() };
    let mut server = Server::start(options);
    let path = server.data_dir().join("tls-self-signed.crt");
    let certificate = CertificateDer::from_pem_file(&path).expect("its certificate");
    let config = trusting(&[certificate]);
    let mut https = connect(address_of(server.endpoint()), &config).expect("connects");
    assert_eq!(ask(&mut https, "GET / HTTP/1.1").expect("an answer").0, 200);
    assert!(server.stop().success());
    server.start_again();
    let mut https = connect(address_of(server.endpoint()), &config).expect("connects");
    assert_eq!(ask(&mut https, "GET / HTTP/1.1").expect("the same certificate").0, 200);
}

#[test]
fn what_can_not_be_is_refused_with_what_to_do() {
    let files = files();
    let (chain, key) = (files.chain.display().to_string(), files.key.display().to_string());
    let data = tempfile::tempdir_in(binary::scratch_dir()).expect("a directory");
    for (arguments, expected) in [
        (vec!["--tls-cert", &chain], "--tls-key"),
        (
            vec!["--tls-cert", &chain, "--tls-cert", &chain, "--tls-key", &key],
            "give each certificate its key",
        ),
        (vec!["--tls-cert", &chain, "--tls-key", &key, "--tls", "self-signed"], "one is enough"),
        (vec!["--acme-host", "s3.example", "--tls", "self-signed"], "one is enough"),
        (vec!["--acme-host", "*.s3.example"], "by DNS alone"),
        (vec!["--acme-host", "192.0.2.1"], "write a name"),
        (vec!["--acme-host", "s3.example", "--tls-client-ca", &chain], "do not go together"),
        (vec!["--tls-client-ca", &chain], "give the server one"),
        (vec!["--tls", "self-signed", "--tls-client-cert", "required"], "--tls-client-ca"),
        (vec!["--tls-cert", &chain, "--tls-key", &chain], "no private key is in"),
        (vec!["--tls-cert", &key, "--tls-key", &key], "no certificate is in"),
        (vec!["--tls", "on"], "self-signed"),
    ] {
        let mut command = Command::new(binary::ringbolt());
        without_settings(&mut command).args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "off",
            "--data",
        ]);
        let output = command.arg(data.path()).args(&arguments).output().expect("ringbolt runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(expected), "{arguments:?}: {said}");
    }
}
