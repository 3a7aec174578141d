//! These tests check what is known of a client behind a proxy: its address and whether it speaks TLS,
//! for policies, addresses in answers, and the log.

use crate::support::{BUCKET, make_bucket};
use aws_sdk_s3::primitives::ByteStream;
use ringbolt_tests::client::MAIN;
use ringbolt_tests::raw_http::{self, Answer};
use ringbolt_tests::signed_http::Signer;
use ringbolt_tests::{Server, ServerOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Lets those of one network read, if they speak TLS, and shuts out one address of it.
const CONDITIONS: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*",
     "Condition":{"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}}},
    {"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*",
     "Condition":{"IpAddress":{"aws:SourceIp":"203.0.113.66"}}},
    {"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*",
     "Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}"#;
const TLS: &str = "X-Forwarded-Proto: https\r\n";

async fn server_with(flags: &'static [&'static str]) -> Server {
    let server = Server::start(ServerOptions { flags, ..ServerOptions::default() });
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    client.put_object().bucket(BUCKET).key("key").send().await.expect("put");
    client.put_bucket_policy().bucket(BUCKET).policy(CONDITIONS).send().await.expect("put the policy");
    server
}

async fn read(server: &Server, headers: &str) -> Answer {
    let url = format!("{}/{BUCKET}/key", server.endpoint());
    raw_http::request_with("GET", &url, headers, b"").await.expect("an answer")
}

#[tokio::test]
async fn policies_judge_the_client_that_a_trusted_proxy_names() {
    let server = server_with(&["--trusted-proxy", "127.0.0.0/8", "--log", "debug"]).await;
    for (said, status) in [
        ("203.0.113.9", 200),
        ("203.0.113.66, 203.0.113.9", 200),
        ("203.0.113.9, 127.0.0.9", 200),
        ("203.0.113.9, 198.51.100.1", 403),
        ("203.0.113.66", 403),
        ("198.51.100.1", 403),
        ("unknown", 400),
        ("203.0.113.9, garbage", 400),
    ] {
        let answer = read(&server, &format!("X-Forwarded-For: {said}\r\n{TLS}")).await;
        assert_eq!(answer.status, status, "{said}: {}", String::from_utf8_lossy(&answer.body));
    }
    let plain = [
        "",
        "X-Forwarded-Proto: http\r\n",
        "X-Forwarded-Proto: https, http\r\n",
        "Forwarded: proto=https\r\n",
    ];
    for proto in plain {
        let answer = read(&server, &format!("X-Forwarded-For: 203.0.113.9\r\n{proto}")).await;
        assert_eq!(answer.status, 403, "{proto}");
    }
    assert_eq!(read(&server, TLS).await.status, 403, "the proxy itself is of no network that may read");
    let log = server.log();
    assert!(log.contains("client=203.0.113.9") && log.contains("client=198.51.100.1"), "{log}");
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let server = server_with(&["--trusted-proxy", "10.0.0.0/8"]).await;
    assert_eq!(read(&server, &format!("X-Forwarded-For: 203.0.113.9\r\n{TLS}")).await.status, 403);
    assert_eq!(read(&server, "X-Forwarded-For: unknown\r\n").await.status, 403);
    assert_eq!(location_scheme(&server).await, "http");
}

#[tokio::test]
async fn an_address_in_an_answer_has_the_scheme_that_the_client_used() {
    let server = server_with(&["--trusted-proxy", "10.0.0.0/8,127.0.0.1"]).await;
    assert_eq!(location_scheme(&server).await, "https");
}

/// Completes an upload whose requests say that they came over TLS, and returns the scheme of the
/// address in the answer.
async fn location_scheme(server: &Server) -> String {
    let signer = Signer { endpoint: server.endpoint(), account: &MAIN };
    let client = server.client(&MAIN);
    let upload = client.create_multipart_upload().bucket(BUCKET).key("parts").send().await.expect("begin");
    let id = upload.upload_id.expect("an id");
    let body = ByteStream::from_static(b"part");
    let part = client.upload_part().bucket(BUCKET).key("parts").upload_id(&id).part_number(1).body(body);
    let etag = part.send().await.expect("a part").e_tag.expect("an ETag");
    let list = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    let target = format!("/{BUCKET}/parts?uploadId={id}");
    let done = signer.send("POST", &target, TLS, list.as_bytes()).await.expect("an answer");
    let text = String::from_utf8_lossy(&done.body).into_owned();
    let (_, location) = text.split_once("<Location>").unwrap_or_else(|| panic!("no location: {text}"));
    location.split_once(':').map(|(scheme, _)| scheme.to_owned()).unwrap_or_default()
}

/// Makes a header of the PROXY protocol, version 2, for a client at 203.0.113.`last`, who speaks TLS.
fn proxy_header(last: u8) -> Vec<u8> {
    let addresses = [203, 0, 113, last, 127, 0, 0, 1, 0x12, 0x34, 0x23, 0x28];
    let tls = [0x20, 0, 5, 1, 0, 0, 0, 0];
    let length = (addresses.len() + tls.len()) as u16;
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x21, 0x11], &length.to_be_bytes(), &addresses, &tls].concat()
}

/// Sends two requests for the key over one connection that begins with `begin`, and returns all that
/// was answered.
async fn speak(server: &Server, begin: &[u8], headers: &str) -> String {
    let address = server.endpoint().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.expect("connect");
    let request = |more: &str| format!("GET /{BUCKET}/key HTTP/1.1\r\nHost: h\r\n{headers}{more}\r\n");
    let sent = [begin, request("").as_bytes(), request("Connection: close\r\n").as_bytes()].concat();
    stream.write_all(&sent).await.expect("send");
    let mut answer = Vec::new();
    // A connection that is given up may be reset.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_header_of_the_proxy_protocol_names_the_client_of_a_connection() {
    // The bucket is made before its clients have to speak the protocol.
    let mut server = server_with(&[]).await;
    server.stop();
    server.set_flags(&["--trusted-proxy", "127.0.0.1", "--proxy-protocol", "on"]);
    server.start_again();
    let answers = |text: &str, status: &str| text.matches(&format!("HTTP/1.1 {status}")).count();
    let heard = speak(&server, &proxy_header(9), "").await;
    assert_eq!(answers(&heard, "200"), 2, "{heard}");
    let heard = speak(&server, &proxy_header(66), "").await;
    assert_eq!(answers(&heard, "403"), 2, "{heard}");
    // The client is none that is trusted: what it says of itself is passed over.
    let heard = speak(&server, &proxy_header(66), "X-Forwarded-For: 203.0.113.9\r\n").await;
    assert_eq!(answers(&heard, "403"), 2, "{heard}");
    // The proxy may speak for itself, for example to see whether the server is there.
    let local = [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x20, 0x00, 0, 0]].concat();
    let heard = speak(&server, &local, "").await;
    assert_eq!(answers(&heard, "403"), 2, "{heard}");
    // Without a header, or with one that is none, nobody knows whose connection it is.
    let mut cut = proxy_header(9);
    cut[15] += 1;
    for begin in [&b""[..], b"PROXY TCP4 203.0.113.9 127.0.0.1 1 2\r\n", &cut] {
        let heard = speak(&server, begin, "").await;
        assert_eq!(heard, "", "{begin:?}");
    }
    assert!(server.log().contains("did not say who its client is"), "{}", server.log());
}

#[tokio::test]
async fn nobody_can_be_made_to_speak_the_proxy_protocol_without_being_trusted() {
    let mut server = server_with(&[]).await;
    server.stop();
    server.set_flags(&["--proxy-protocol", "on"]);
    let (status, said) = server.start_second();
    assert!(!status.success() && said.contains("--trusted-proxy"), "{said}");
}
