//! These tests check requests of web pages from other origins: the configuration of buckets,
//! preflights, and the headers of every answer.

use crate::support::{BUCKET, make_bucket, refusal};
use aws_sdk_s3::types::{CorsConfiguration, CorsRule};
use ringbolt_tests::client::{MAIN, OTHER};
use ringbolt_tests::raw_http::{self, Answer};
use ringbolt_tests::signed_http::Signer;
use ringbolt_tests::{Server, ServerOptions};

const PAGE: &str = "Origin: https://app.example.com\r\n";
const OTHER_PAGE: &str = "Origin: https://other.example.com\r\n";
const VARY: &str = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";
const ALLOWED: &str = "access-control-allow-origin";

/// Lets one page write and read, and any page read the headers of what is there.
const RULES: &str = "<CORSConfiguration><CORSRule><ID>app</ID><AllowedMethod>PUT</AllowedMethod>\
    <AllowedMethod>GET</AllowedMethod><AllowedOrigin>https://app.example.com</AllowedOrigin>\
    <AllowedHeader>Content-Type</AllowedHeader><AllowedHeader>x-amz-*</AllowedHeader>\
    <MaxAgeSeconds>600</MaxAgeSeconds><ExposeHeader>ETag</ExposeHeader></CORSRule>\
    <CORSRule><AllowedMethod>HEAD</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>";

async fn server_with_rules() -> Server {
    let server = Server::start(ServerOptions { flags: &["--domain", "s3.localhost"], ..Default::default() });
    make_bucket(&server.client(&MAIN)).await;
    put_rules(&server, RULES).await;
    server
}

async fn put_rules(server: &Server, rules: &str) {
    let answer = signed(server, "PUT", &format!("/{BUCKET}?cors"), "", rules).await;
    assert_eq!(answer.status, 200, "{}", text(&answer));
}

async fn signed(server: &Server, method: &str, target: &str, headers: &str, body: &str) -> Answer {
    let signer = Signer { endpoint: server.endpoint(), account: &MAIN };
    signer.send(method, target, headers, body.as_bytes()).await.expect("an answer")
}

async fn unsigned(server: &Server, method: &str, target: &str, headers: &str) -> Answer {
    let url = format!("{}{target}", server.endpoint());
    raw_http::request_with(method, &url, headers, b"").await.expect("an answer")
}

fn text(answer: &Answer) -> String {
    format!("{}\r\n\r\n{}", answer.head, String::from_utf8_lossy(&answer.body))
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let mut lines = answer.head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Checks status, the allowed origin and the allowed methods of an answer.
fn assert_allows(answer: &Answer, status: u16, origin: Option<&str>, methods: Option<&str>) {
    assert_eq!(answer.status, status, "{}", text(answer));
    assert_eq!(header(answer, ALLOWED), origin, "{}", text(answer));
    assert_eq!(header(answer, "access-control-allow-methods"), methods, "{}", text(answer));
}

#[tokio::test]
async fn rules_are_put_shown_and_removed() {
    let mut server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let rule = CorsRule::builder()
        .id("one & only")
        .allowed_methods("PUT")
        .allowed_methods("DELETE")
        .allowed_origins("https://*.example.com")
        .allowed_headers("X-Amz-*")
        .expose_headers("ETag")
        .max_age_seconds(3000)
        .build()
        .expect("a rule");
    let configuration = CorsConfiguration::builder().cors_rules(rule.clone()).build().expect("a document");
    let put = |configuration| client.put_bucket_cors().bucket(BUCKET).cors_configuration(configuration);
    put(configuration).send().await.expect("put the rules");
    server.kill();
    server.start_again();
    let client = server.client(&MAIN);
    let shown = client.get_bucket_cors().bucket(BUCKET).send().await.expect("get the rules");
    assert_eq!(shown.cors_rules(), [rule]);
    let stranger = server.client(&OTHER).get_bucket_cors().bucket(BUCKET).send().await.map_err(refusal);
    assert!(stranger.is_err_and(|refusal| refusal.is(403, "AccessDenied")));
    client.delete_bucket_cors().bucket(BUCKET).send().await.expect("delete the rules");
    let gone = client.get_bucket_cors().bucket(BUCKET).send().await.map_err(refusal);
    assert!(gone.is_err_and(|refusal| refusal.is(404, "NoSuchCORSConfiguration")));
    for (rules, code) in [
        ("<CORSConfiguration/>", "MalformedXML"),
        (RULES.replace("HEAD", "PATCH").as_str(), "InvalidRequest"),
        (RULES.replace(">*<", ">*.*<").as_str(), "InvalidRequest"),
    ] {
        let answer = signed(&server, "PUT", &format!("/{BUCKET}?cors"), "", rules).await;
        assert_eq!(answer.status, 400);
        assert!(text(&answer).contains(&format!("<Code>{code}</Code>")), "{}", text(&answer));
    }
}

#[tokio::test]
async fn every_answer_tells_the_page_of_an_allowed_origin() {
    let server = server_with_rules().await;
    let key = format!("/{BUCKET}/key");
    let put = signed(&server, "PUT", &key, PAGE, "body").await;
    let own = Some("https://app.example.com");
    assert_allows(&put, 200, own, Some("PUT, GET"));
    for (name, value) in [
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "ETag"),
        ("access-control-max-age", "600"),
        ("vary", VARY),
    ] {
        assert_eq!(header(&put, name), Some(value), "{}", text(&put));
    }
    // A plain GET, what a handler refuses, what the signature refuses, and what nobody may do.
    assert_allows(&signed(&server, "GET", &key, PAGE, "").await, 200, own, Some("PUT, GET"));
    let missing = format!("/{BUCKET}/missing");
    assert_allows(&signed(&server, "GET", &missing, PAGE, "").await, 404, own, Some("PUT, GET"));
    let forged = format!("{PAGE}Authorization: AWS a:b\r\n");
    assert_allows(&unsigned(&server, "GET", &key, &forged).await, 403, own, Some("PUT, GET"));
    assert_allows(&unsigned(&server, "GET", &key, PAGE).await, 403, own, Some("PUT, GET"));
    // A rule for any origin names none, and lets no credentials come.
    let any = signed(&server, "HEAD", &key, OTHER_PAGE, "").await;
    assert_allows(&any, 200, Some("*"), Some("HEAD"));
    assert_eq!(header(&any, "access-control-allow-credentials"), None);
    // Without a rule the answer still depends on the origin.
    let refused = signed(&server, "GET", &key, OTHER_PAGE, "").await;
    assert_allows(&refused, 200, None, None);
    assert_eq!(header(&refused, "vary"), Some(VARY));
    // Without an origin, and where there are no rules, nothing is said.
    let plain = signed(&server, "GET", &key, "", "").await;
    assert_allows(&plain, 200, None, None);
    assert_eq!(header(&plain, "vary"), None);
    let elsewhere = signed(&server, "GET", "/no-such-bucket/key", PAGE, "").await;
    assert_allows(&elsewhere, 404, None, None);
    assert_eq!(header(&elsewhere, "vary"), None);
}

#[tokio::test]
async fn preflights_are_answered_to_anybody_by_the_rules_alone() {
    let server = server_with_rules().await;
    let key = format!("/{BUCKET}/key");
    let deny = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Deny","Principal":"*","Action":"s3:*",
            "Resource":["arn:aws:s3:::{BUCKET}","arn:aws:s3:::{BUCKET}/*"]}}]}}"#
    );
    assert_eq!(signed(&server, "PUT", &format!("/{BUCKET}?policy"), "", &deny).await.status, 204);
    let asks = |method: &str| format!("{PAGE}Access-Control-Request-Method: {method}\r\n");
    let own = Some("https://app.example.com");
    let headers = format!("{}Access-Control-Request-Headers: content-type,X-Amz-Date\r\n", asks("PUT"));
    let allowed = unsigned(&server, "OPTIONS", &key, &headers).await;
    assert_allows(&allowed, 200, own, Some("PUT, GET"));
    assert_eq!(header(&allowed, "access-control-allow-headers"), Some("content-type, x-amz-date"));
    assert_eq!(header(&allowed, "access-control-max-age"), Some("600"));
    assert_eq!(header(&allowed, "content-length"), Some("0"));
    // The query is that of the request to come, and a wrong signature does not matter.
    for target in [format!("{key}?X-Amz-Signature=0&partNumber=1"), format!("/{BUCKET}?list-type=2")] {
        let headers = format!("{}Authorization: AWS a:b\r\n", asks("GET"));
        assert_allows(&unsigned(&server, "OPTIONS", &target, &headers).await, 200, own, Some("PUT, GET"));
    }
    let (url, host) = (format!("{}/key", server.endpoint()), format!("{BUCKET}.s3.localhost"));
    let by_host = raw_http::request_to_host("OPTIONS", &url, &host, &asks("PUT"), b"").await;
    assert_allows(&by_host.expect("an answer"), 200, own, Some("PUT, GET"));
    let authorization = format!("{}Access-Control-Request-Headers: authorization\r\n", asks("PUT"));
    let elsewhere = OTHER_PAGE.to_owned() + "Access-Control-Request-Method: GET\r\n";
    for (target, headers, message) in [
        (&key, asks("DELETE"), "CORSResponse: This CORS request is not allowed."),
        (&key, authorization, "CORSResponse: This CORS request is not allowed."),
        (&key, elsewhere, "CORSResponse: This CORS request is not allowed."),
        (&"/no-such-bucket/k".to_owned(), asks("PUT"), "CORSResponse: Bucket not found"),
        (&"/".to_owned(), asks("PUT"), "CORSResponse: Bucket not found"),
    ] {
        let refused = unsigned(&server, "OPTIONS", target, &headers).await;
        assert_allows(&refused, 403, None, None);
        let text = text(&refused);
        assert!(text.contains("<Code>AccessForbidden</Code>") && text.contains(message), "{text}");
        assert!(text.contains("<ResourceType>") && text.contains("<RequestId>"), "{text}");
    }
    for (headers, message) in [
        ("", "Insufficient information. Origin request header needed."),
        (PAGE, "Invalid Access-Control-Request-Method: null"),
        (asks("SMILE").as_str(), "Invalid Access-Control-Request-Method: SMILE"),
    ] {
        let refused = unsigned(&server, "OPTIONS", &key, headers).await;
        assert_allows(&refused, 400, None, None);
        let text = text(&refused);
        assert!(text.contains("<Code>BadRequest</Code>") && text.contains(message), "{text}");
    }
    assert_eq!(signed(&server, "DELETE", &format!("/{BUCKET}?policy"), "", "").await.status, 204);
    assert_eq!(signed(&server, "DELETE", &format!("/{BUCKET}?cors"), "", "").await.status, 204);
    let refused = unsigned(&server, "OPTIONS", &key, &asks("PUT")).await;
    assert!(
        text(&refused).contains("CORSResponse: CORS is not enabled for this bucket."),
        "{}",
        text(&refused)
    );
}
