//! These tests check the target of requests: every part of the server reads bucket, key and query
//! in the same way, and nothing of the query is silently ignored.

use crate::support::{BUCKET, assert_holds, make_bucket, put};
use ringbolt_tests::client::MAIN;
use ringbolt_tests::raw_http::{self, Answer};
use ringbolt_tests::version_2::Signed;
use ringbolt_tests::{Content, Server, ServerOptions};

async fn ask(server: &Server, method: &str, resource: &str, rest: &str, body: &[u8]) -> Answer {
    let signed = Signed { method, resource, rest, ..Signed::get(None) };
    let (url, headers) = signed.request(server.endpoint(), &MAIN);
    raw_http::request_with(method, &url, &headers, body).await.expect("an answer")
}

fn text(answer: &Answer) -> String {
    format!("{} {}", answer.head, String::from_utf8_lossy(&answer.body))
}

#[tokio::test]
async fn an_argument_without_its_operation_never_replaces_an_object() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let content = Content::new(1, 1000);
    put(&client, "k", content).await.expect("stored");
    for (query, status) in [
        ("partNumber=1", 400),
        ("uploadId=0123", 405),
        ("versionId=abc", 400),
        ("uploadId=0123&partNumber=1&versionId=null", 400),
        ("acl&partNumber=1&uploadId=0123", 400),
        ("tagging&uploadId=0123", 400),
    ] {
        let mut sorted: Vec<&str> = query.split('&').collect();
        sorted.sort_unstable();
        let resource = format!("/{BUCKET}/k?{}", sorted.join("&"));
        let answer = ask(&server, "PUT", &resource, "", b"a part").await;
        assert_eq!(answer.status, status, "{query}: {}", text(&answer));
    }
    for method in ["PUT", "DELETE", "POST"] {
        let answer = ask(&server, method, "/bucket/k", "annotation=a", b"").await;
        assert_eq!(answer.status, 501, "{method}: {}", text(&answer));
    }
    assert_holds(&client, "k", content).await;
}

#[tokio::test]
async fn an_encoded_slash_separates_bucket_and_key_everywhere() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let content = Content::new(1, 100_000);
    for length in [1000, 100_000] {
        let stored = ask(&server, "PUT", "/bucket%2Fk", "", &content.bytes()[..length]).await;
        assert_eq!(stored.status, 200, "{length} bytes: {}", text(&stored));
    }
    assert_holds(&client, "k", content).await;
    for path in ["/bucket/k", "/bucket%2Fk", "/buc%6bet%2fk"] {
        let answer = ask(&server, "DELETE", &format!("{path}?policy"), "", b"").await;
        assert_eq!(answer.status, 501, "{path}: {}", text(&answer));
        let got = ask(&server, "GET", path, "", b"").await;
        assert_eq!((got.status, content.difference(&got.body)), (200, None), "{path}: {}", got.head);
    }
    assert_holds(&client, "k", content).await;
}

#[tokio::test]
async fn what_other_servers_answer_to_a_parameter_is_no_listing_and_no_object() {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    put(&client, "k", Content::new(1, 10)).await.expect("stored");
    for (resource, rest) in [
        ("/bucket", "events="),
        ("/bucket", "events=s3:ObjectCreated:*&prefix=&suffix="),
        ("/", "events=s3:ObjectCreated:*"),
        ("/bucket/k", "annotation=a"),
        ("/bucket/k", "lambdaArn=a"),
    ] {
        let answer = ask(&server, "GET", resource, rest, b"").await;
        assert_eq!(answer.status, 501, "{resource} {rest}: {}", text(&answer));
    }
    for (resource, rest) in [
        ("/bucket", "x-id=ListObjects&prefix=k&x-trace=7"),
        ("/bucket/k", "x-id=GetObject"),
        ("/bucket/k", "x-request-source=dashboard&x-id=Other"),
    ] {
        let answer = ask(&server, "GET", resource, rest, b"").await;
        assert_eq!(answer.status, 200, "{resource} {rest}: {}", text(&answer));
    }
    let twice = ask(&server, "GET", "/bucket", "prefix=a&prefix=b", b"").await;
    assert_eq!(twice.status, 400, "{}", text(&twice));
}
