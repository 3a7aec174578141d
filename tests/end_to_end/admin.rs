//! These tests check health and metrics on listeners of their own: clients may use all names.

use crate::support::make_bucket;
use aws_sdk_s3::primitives::ByteStream;
use ringbolt_tests::client::MAIN;
use ringbolt_tests::signed_http::Signer;
use ringbolt_tests::{Server, ServerOptions, raw_http};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

const HEALTH: &str = "/ringbolt/health";

/// Regression: the objects `health` and `metrics` of a bucket `ringbolt` could not be read, and
/// with virtual hosts neither could the keys `ringbolt/health` and `ringbolt/metrics` of any
/// bucket.
#[tokio::test]
async fn no_name_of_a_client_is_shadowed() {
    let flags = &["--domain", "s3.localhost"];
    let server = Server::start(ServerOptions { flags, ..ServerOptions::default() });
    let by_path = server.client(&MAIN);
    let address = server.endpoint().trim_start_matches("http://").to_owned();
    let (_, port) = address.rsplit_once(':').expect("a port");
    for bucket in ["ringbolt", "some-bucket"] {
        by_path.create_bucket().bucket(bucket).send().await.expect("create a bucket");
        for key in ["health", "metrics", "ringbolt/health", "ringbolt/metrics"] {
            let body = format!("{bucket} {key}");
            let put = by_path.put_object().bucket(bucket).key(key);
            put.body(ByteStream::from(body.clone().into_bytes())).send().await.expect("put");
            let got = by_path.get_object().bucket(bucket).key(key).send().await.expect("get");
            assert_eq!(got.body.collect().await.expect("a body").into_bytes(), body.as_bytes());
        }
        let signer = Signer { endpoint: server.endpoint(), account: &MAIN };
        let host = format!("{bucket}.s3.localhost:{port}");
        let answer = signer.send_to_host(&host, "GET", HEALTH, "", b"").await.expect("an answer");
        assert_eq!((answer.status, answer.body), (200, format!("{bucket} ringbolt/health").into_bytes()));
    }
}

#[tokio::test]
async fn they_are_told_without_credentials_by_address_and_by_socket() {
    let mut server = Server::start(ServerOptions::default());
    let url = format!("{}{HEALTH}", server.admin_endpoint());
    let answer = raw_http::request("GET", &url, b"").await.expect("an answer");
    assert_eq!(answer.status, 200);
    let path = server.data_dir().join("admin.sock");
    assert_eq!(std::fs::metadata(&path).expect("a socket").permissions().mode() & 0o777, 0o600);
    let mut socket = UnixStream::connect(&path).expect("connect");
    socket.write_all(b"GET /ringbolt/metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").expect("ask");
    let mut said = String::new();
    socket.read_to_string(&mut said).expect("an answer");
    assert!(said.contains("ringbolt_ready 1"), "{said}");
    // What a kill leaves behind does no harm, and a clean stop leaves nothing.
    server.kill();
    assert!(path.exists());
    server.start_again();
    UnixStream::connect(&path).expect("connect again");
    assert!(server.stop().success());
    assert!(!path.exists());
}

/// In practice, the port is often the default of another server on the machine.
#[tokio::test]
async fn an_address_that_is_taken_is_an_error_that_names_the_flag() {
    let server = Server::start(ServerOptions::default());
    let taken = server.admin_endpoint().trim_start_matches("http://").to_owned();
    let other = tempfile::tempdir_in(server.data_dir()).expect("a directory");
    let environment = [("RINGBOLT_LISTEN", "127.0.0.1:0"), ("RINGBOLT_ADMIN_LISTEN", taken.as_str())];
    let (status, said) = server.start_other(other.path(), &environment);
    assert!(!status.success() && said.contains(&taken) && said.contains("--admin-listen"), "{said}");
    assert!(!other.path().join("drive0").exists(), "before anything was made");
}

#[tokio::test]
async fn off_leaves_the_socket() {
    let flags = &["--admin-listen", "off"];
    let server = Server::start(ServerOptions { flags, ..ServerOptions::default() });
    make_bucket(&server.client(&MAIN)).await;
    UnixStream::connect(server.data_dir().join("admin.sock")).expect("connect");
    assert!(!server.has_admin_address());
}
